//! What the terminal's and the page's tables have in common.

use crate::{
    compare::{Compared, InterruptCompared, IterationsCompared, Pair, Part},
    units::{bytes, ratio, step, time},
};

/// How a table writes figures, and what stands for one that is not there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells(pub(super) &'static str);

impl Cells {
    /// A figure, if it is there.
    pub(super) fn figure(self, value: Option<f64>, words: fn(f64) -> String) -> String {
        value.map_or_else(|| self.0.into(), words)
    }

    /// A's mean, B's, their difference, their ratio.
    pub(super) fn means(self, mean: &Compared) -> [String; 4] {
        [
            self.figure(mean.a, time),
            self.figure(mean.b, time),
            self.figure(mean.difference, step),
            self.figure(mean.ratio.filter(|_| mean.b != Some(0.0)), ratio),
        ]
    }

    /// A part's share of the whole's difference, and of that of the variances. Where there is no
    /// difference worth the name, shares of it say nothing.
    pub(super) fn shares(self, pair: &Pair, part: &Part) -> [String; 2] {
        let share =
            |share: Option<f64>, differ: bool| self.figure(share.filter(|_| differ), whole_percent);
        [
            share(part.share_of_difference, pair.means_differ()),
            share(part.share_of_variance_difference, pair.variances_differ()),
        ]
    }

    /// Medians, and 99th percentiles.
    pub(super) fn percentiles(self, p50: &Compared, p99: &Compared) -> [String; 4] {
        [p50.a, p50.b, p99.a, p99.b].map(|value| self.figure(value, time))
    }

    /// A row of the iterations: A's, B's, their difference, their ratio.
    pub(super) fn iteration(self, (_, figures, words, steps): &Row<'_>) -> [String; 4] {
        [
            self.figure(figures.a, *words),
            self.figure(figures.b, *words),
            self.figure(figures.difference, *steps),
            self.figure(figures.ratio, ratio),
        ]
    }

    /// Calls an iteration and handler time, each with the ratio, and the delay to the soft interrupt.
    pub(super) fn interrupt(self, irq: &InterruptCompared) -> [String; 8] {
        let (calls, handler) = (&irq.per_iteration, &irq.handler_mean_ns);
        let softirq = &irq.softirq_delay_mean_ns;
        [
            self.figure(calls.a, tenths),
            self.figure(calls.b, tenths),
            self.figure(calls.ratio, ratio),
            self.figure(handler.a, time),
            self.figure(handler.b, time),
            self.figure(handler.ratio, ratio),
            self.figure(softirq.a, time),
            self.figure(softirq.b, time),
        ]
    }
}

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
fn whole_percent(share: f64) -> String {
    let percent = (share * 100.0).round();
    // Not `-0%`.
    format!("{:.0}%", if percent == 0.0 { 0.0 } else { percent })
}

/// With one digit after the point.
fn tenths(value: f64) -> String {
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
