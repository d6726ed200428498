//! Sizes and times as people write them: `128KiB`, `500us`.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

const SIZES: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];
const TIMES: [(&str, u64); 5] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
];

/// Splits a number from its unit and multiplies.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (unit, factor) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number = text.strip_suffix(unit)?.trim();
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(*factor);
    }
    let number: f64 = number.parse().ok()?;
    let value = number * *factor as f64;
    (number.is_finite() && (0.0..=1e18).contains(&value)).then_some(value.round() as u64)
}

impl Size {
    /// Parses a size.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        quantity(text, &SIZES).map(Self)
    }
}

impl Time {
    /// Parses a time.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        quantity(text, &TIMES).map(|ns| Self(Duration::from_nanos(ns)))
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size: a whole number of bytes, or text such as \"128KiB\" or \"4GB\" (units: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Size, E> {
        u64::try_from(value)
            .map(Size)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Size, E> {
        Size::parse(value).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(value), &self))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as \"10s\" or \"500us\" (units: ns, us, ms, s, min)")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Time, E> {
        Time::parse(value).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(value), &self))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes: a whole number, or text with a unit, such as 128KiB",
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9.]+ *([KMGT]i|k|M|G|T)?B$"}]
        })
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A time with its unit, such as 500us",
            "type": "string",
            "pattern": "^[0-9.]+ *(ns|us|ms|s|min)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_as_written() {
        assert_eq!(Size::parse("128KiB"), Some(Size(131_072)));
        assert_eq!(Size::parse("4 GB"), Some(Size(4_000_000_000)));
        assert_eq!(Size::parse("1.5MiB"), Some(Size(1_572_864)));
        assert_eq!(Size::parse("12"), None);
        assert_eq!(Time::parse("10ms"), Some(Time(Duration::from_millis(10))));
        assert_eq!(Time::parse("2min"), Some(Time(Duration::from_secs(120))));
        assert_eq!(Time::parse("-1s"), None);
        assert_eq!(Time::parse("NaNs"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC*") {
            let _ = (Size::parse(&text), Time::parse(&text));
        }
    }
}
