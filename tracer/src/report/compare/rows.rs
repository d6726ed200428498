//! What the terminal's and the page's tables have in common.

use crate::{
    analysis::compare::{Compared, IterationsCompared},
    report::units::{bytes, step, time},
};

/// A row of the iterations: its name, its figures, how they read, and how their difference reads.
pub(super) type Row<'c> = (
    &'static str,
    &'c Compared,
    fn(f64) -> String,
    fn(f64) -> String,
);

/// The rows of the iterations.
pub(super) fn iteration_rows(iterations: &IterationsCompared) -> [Row<'_>; 8] {
    let i = iterations;
    [
        ("number", &i.count, whole, signed_whole),
        ("mean duration", &i.mean_ns, time, step),
        ("variance", &i.variance_ns2, square, signed_square),
        ("shortest", &i.min_ns, time, step),
        ("longest", &i.max_ns, time, step),
        ("longest less shortest", &i.range_ns, time, step),
        ("throughput", &i.bytes_per_second, rate, signed_rate),
        (
            "operations a second",
            &i.operations_per_second,
            whole,
            signed_whole,
        ),
    ]
}

/// A share from 0 to 1, in whole percent.
pub(super) fn whole_percent(share: f64) -> String {
    let percent = (share * 100.0).round();
    // Not `-0%`.
    format!("{:.0}%", if percent == 0.0 { 0.0 } else { percent })
}

/// With one digit after the point.
pub(super) fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn signed_whole(value: f64) -> String {
    signed(value, whole)
}

fn rate(value: f64) -> String {
    format!("{}/s", bytes(value))
}

fn signed_rate(value: f64) -> String {
    signed(value, rate)
}

/// A variance in ns^2, as ms^2: iterations take milliseconds to minutes.
fn square(ns2: f64) -> String {
    let ms2 = ns2 / 1e12;
    if ms2 == 0.0 || (0.01..1e6).contains(&ms2.abs()) {
        format!("{ms2:.2} ms2")
    } else {
        format!("{ms2:.1e} ms2")
    }
}

fn signed_square(ns2: f64) -> String {
    signed(ns2, square)
}

fn signed(value: f64, words: fn(f64) -> String) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}", words(value))
}

/// A text, or a dash for none.
pub(super) fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// A host's part in Xen, in words.
pub(super) fn xen(role: &str) -> String {
    match role {
        "none" | "" => "no Xen".into(),
        role => format!("Xen {role}"),
    }
}
