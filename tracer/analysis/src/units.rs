//! Numbers as people read them.

/// A time in nanoseconds, with three digits and a unit.
#[must_use]
pub fn time(ns: f64) -> String {
    let (value, unit) = match ns.abs() {
        x if x < 1e3 => (ns, "ns"),
        x if x < 1e6 => (ns / 1e3, "us"),
        x if x < 1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let digits = match value.abs() {
        _ if unit == "ns" => 0,
        x if x < 10.0 => 2,
        x if x < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// A difference of times in nanoseconds, with its sign.
#[must_use]
pub fn step(ns: f64) -> String {
    match time(ns) {
        text if matches!(text.as_str(), "0 ns" | "-0 ns") => "0 ns".into(),
        text if ns > 0.0 => format!("+{text}"),
        text => text,
    }
}

/// How many times something something else is.
#[must_use]
pub fn ratio(ratio: f64) -> String {
    let digits = if ratio.abs() < 100.0 { 2 } else { 0 };
    format!("{ratio:.digits$}x")
}

/// Bytes with a binary unit.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value.abs() < 100.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A share from 0 to 1, in percent.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = format!("{:.1}%", share * 100.0);
    // A share that rounds to none has no sign.
    if percent == "-0.0%" {
        "0.0%".into()
    } else {
        percent
    }
}

/// A bar of at most `width` characters for a share from 0 to 1.
#[must_use]
pub fn bar(share: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        assert_eq!(time(0.0), "0 ns");
        assert_eq!(time(999.0), "999 ns");
        assert_eq!(time(1_500.0), "1.50 us");
        assert_eq!(time(87_519.0), "87.5 us");
        assert_eq!(time(1.23e8), "123 ms");
        assert_eq!(bytes(131_072.0), "128 KiB");
        assert_eq!(percent(0.614), "61.4%");
    }

    #[test]
    fn differences_have_a_sign() {
        assert_eq!(step(312_000.0), "+312 us");
        assert_eq!(step(-45.0), "-45 ns");
        assert_eq!(step(0.2), "0 ns");
        assert_eq!(step(-0.2), "0 ns");
        assert_eq!(ratio(2.756), "2.76x");
        assert_eq!(ratio(1234.5), "1234x");
    }

    #[test]
    fn bars_fill_their_width() {
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(0.0, 4), "");
        assert_eq!(bar(0.5, 1), "▌");
        assert_eq!(bar(-0.3, 4), "");
    }
}
