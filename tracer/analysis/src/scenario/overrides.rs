//! Changes to a scenario without editing its file: its own profiles (`--profile`), and `--set key=value`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::toml_file::TomlError;

/// What is changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes<'a> {
    /// Names of profiles of the scenario, applied in this order.
    pub profiles: &'a [String],
    /// `key=value`, applied after them.
    pub overrides: &'a [String],
}

impl Changes<'_> {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.profiles.is_empty() && self.overrides.is_empty()
    }
}

/// What was changed, as a run keeps it: the scenario that it keeps has the changes applied, and does not
/// tell any more which profile they came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunChanges {
    /// Names of the scenario's profiles that were applied, in this order.
    pub profiles: Vec<String>,
    /// `key=value`, applied after them.
    pub overrides: Vec<String>,
}

impl From<Changes<'_>> for RunChanges {
    fn from(changes: Changes<'_>) -> Self {
        Self {
            profiles: changes.profiles.to_vec(),
            overrides: changes.overrides.to_vec(),
        }
    }
}

/// Applies changes to a scenario's text. The profiles themselves are left out of what comes of it.
pub(super) fn apply(text: &str, file: &str, changes: Changes<'_>) -> Result<String, TomlError> {
    let mut table = text
        .parse::<Table>()
        .map_err(|error| TomlError::from_toml(file, text, &error))?;
    if !changes.profiles.is_empty() {
        let profiles = match table.remove("profile") {
            Some(Value::Table(profiles)) => profiles,
            _ => Table::new(),
        };
        for name in changes.profiles {
            let Some(Value::Table(profile)) = profiles.get(name) else {
                let known: Vec<&str> = profiles.keys().map(String::as_str).collect();
                let reason = format!("there is no such profile; it has: {}", known.join(", "));
                return Err(TomlError::plain(
                    file,
                    format!("--profile {name}: {reason}"),
                ));
            };
            merge(&mut table, profile);
        }
    }
    let mut root = Value::Table(table);
    for change in changes.overrides {
        set(&mut root, change)
            .map_err(|reason| TomlError::plain(file, format!("--set {change}: {reason}")))?;
    }
    toml::to_string(&root).map_err(|error| TomlError::plain(file, format!("--set: {error}")))
}

/// Lays a profile over a scenario: tables are merged, lists of tables (domains, background loads) grow,
/// everything else is replaced.
fn merge(table: &mut Table, profile: &Table) {
    for (key, value) in profile {
        match (table.get_mut(key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (Some(Value::Array(old)), Value::Array(new)) if new.iter().all(Value::is_table) => {
                old.extend(new.iter().cloned());
            }
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

fn set(root: &mut Value, change: &str) -> Result<(), String> {
    let (key, value) = change
        .split_once('=')
        .ok_or("write it as key=value, such as workload.count=100")?;
    let value = parse_value(value.trim());
    let mut place = root;
    let mut parts = key.trim().split('.').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err("the key has an empty part".into());
        }
        if parts.peek().is_none() {
            return insert(place, part, value);
        }
        place = step(place, part)?;
    }
    Err("the key is empty".into())
}

/// A value as TOML; what is none is text, so that `--set name=abc` needs no quotes.
fn parse_value(text: &str) -> Value {
    format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.into()))
}

/// The element of an array that a part names: by number, or by its `name`.
fn element<'a>(array: &'a mut [Value], part: &str) -> Result<&'a mut Value, String> {
    let count = array.len();
    let index = part.parse::<usize>().ok().or_else(|| {
        array
            .iter()
            .position(|value| value.get("name").and_then(Value::as_str) == Some(part))
    });
    index.and_then(|index| array.get_mut(index)).ok_or_else(|| {
        format!("there is no element {part}: give a number below {count}, or an element's name")
    })
}

fn step<'a>(place: &'a mut Value, part: &str) -> Result<&'a mut Value, String> {
    match place {
        Value::Table(table) => Ok(table
            .entry(part)
            .or_insert_with(|| Value::Table(Table::new()))),
        Value::Array(array) => element(array, part),
        _ => Err(format!("there is nothing below which {part} could stand")),
    }
}

fn insert(place: &mut Value, part: &str, value: Value) -> Result<(), String> {
    match place {
        Value::Table(table) => {
            table.insert(part.into(), value);
            Ok(())
        }
        Value::Array(array) => {
            *element(array, part)? = value;
            Ok(())
        }
        _ => Err(format!("there is nothing below which {part} could stand")),
    }
}
