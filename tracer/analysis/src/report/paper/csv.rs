//! A figure as CSV (RFC 4180): a row a case. What is not there is an empty field.

use anyhow::Context as _;

use crate::paper::{
    figure::{Bar, Figure},
    runs::Runs,
};

const HEAD: [&str; 16] = [
    "figure",
    "workload",
    "setup",
    "load",
    "unit",
    "state",
    "iterations",
    "value",
    "ci95_low",
    "ci95_high",
    "min",
    "max",
    "published",
    "ratio",
    "run",
    "notes",
];

pub(super) fn render(figure: &Figure, runs: &Runs) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEAD)?;
    for bar in &figure.bars {
        writer.write_record(row(figure, bar, runs))?;
    }
    writer.into_inner().context("the CSV could not be written")
}

fn row(figure: &Figure, bar: &Bar, runs: &Runs) -> [String; 16] {
    let run = runs.get(bar.case);
    let state = match run {
        None => "not run",
        Some(run) if run.input.report.partial.is_some() => "partial",
        Some(run) if !run.is_whole() => "lossy",
        Some(_) => "complete",
    };
    let ours = bar.ours.as_ref().ok();
    let interval = ours.and_then(|ours| ours.interval);
    let extremes = ours.and_then(|ours| ours.extremes);
    let mut notes = bar.notes.clone();
    if run.is_some() {
        notes.extend(bar.ours.as_ref().err().cloned());
    }
    [
        figure.key.key().into(),
        bar.case.workload.name().into(),
        bar.case.setup.key().into(),
        bar.case.load.key().into(),
        figure.key.unit().into(),
        state.into(),
        ours.map_or_else(String::new, |ours| ours.count.to_string()),
        number(ours.map(|ours| ours.value)),
        number(interval.map(|(low, _)| low)),
        number(interval.map(|(_, high)| high)),
        number(extremes.map(|(min, _)| min)),
        number(extremes.map(|(_, max)| max)),
        number(bar.published),
        number(bar.ratio),
        run.map_or_else(String::new, |run| run.input.source.clone()),
        notes.join("; "),
    ]
}

/// In full: it is for programs.
fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
