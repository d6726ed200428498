//! A history of runs: what dashboards draw. A folder with one file a run, so that Git merges it and object
//! stores take it; in a file one line of JSON for every total and stage.

mod openmetrics;
mod parquet;

use std::{fs, io, path::Path};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::{
    Breakdown, Report,
    breakdown::{Figures, StageFigures},
    datapath::Component,
    saved::write_whole,
};

pub use self::{openmetrics::render as openmetrics, parquet::render as parquet};

/// The schema's name and version.
pub const SCHEMA: &str = "tracer.history/1";

/// The total, or a stage, of a breakdown of a run. Times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`SCHEMA`].
    pub schema: String,
    /// When the run began (RFC 3339).
    pub started: String,
    /// The scenario's name.
    pub scenario: String,
    /// Kernel release of the first domain.
    pub kernel: String,
    /// `none`, `dom0` or `guest`.
    pub xen_role: String,
    /// The tracer's version.
    pub version: String,
    /// Whether the run is partial.
    pub partial: bool,
    /// Requests lost, as a share of all: of the domain that lost most.
    pub lost_share: f64,
    /// The domain.
    pub domain: String,
    /// The datapath.
    pub datapath: String,
    /// The device or interface.
    pub device: String,
    /// `read`, `write`, `tcp`, ...
    pub operation: String,
    /// `total`, or both ends.
    pub stage: String,
    /// Whose time it is; none: the total.
    pub component: Option<Component>,
    /// Iterations.
    pub iterations: u64,
    /// Requests that had it.
    pub count: u64,
    /// Mean over *all* requests; one without the stage counts as zero.
    pub mean_ns: f64,
    /// Median of those that had it.
    pub p50_ns: u64,
    /// Their 99th percentile.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Their variance, in ns^2.
    pub variance_ns2: f64,
    /// Share of the sum of totals.
    pub share_of_mean: f64,
    /// Share of the totals' variance.
    pub share_of_variance: f64,
}

/// The lines of a run.
#[must_use]
pub fn lines(report: &Report) -> Vec<Line> {
    let breakdowns = report.breakdowns.iter();
    breakdowns
        .flat_map(|breakdown| {
            let total = line(report, breakdown, "total".into(), None, &breakdown.total);
            let stages = breakdown.stages.iter().map(|stage: &StageFigures| {
                let component = Some(stage.component);
                line(report, breakdown, stage.name(), component, &stage.figures)
            });
            std::iter::once(total).chain(stages).collect::<Vec<_>>()
        })
        .collect()
}

fn line(
    report: &Report,
    breakdown: &Breakdown,
    stage: String,
    component: Option<Component>,
    figures: &Figures,
) -> Line {
    Line {
        schema: SCHEMA.into(),
        started: report.started.clone(),
        scenario: report.scenario.clone(),
        kernel: report.host.kernel.clone(),
        xen_role: report.host.xen_role.clone(),
        version: report.version.clone(),
        partial: report.partial.is_some(),
        lost_share: report.lost_share(),
        domain: breakdown.domain.clone(),
        datapath: breakdown.datapath.clone(),
        device: breakdown.device.clone(),
        operation: breakdown.operation.clone(),
        stage,
        component,
        iterations: breakdown.iterations.len() as u64,
        count: figures.count,
        mean_ns: figures.sum_ns as f64 / breakdown.total.count.max(1) as f64,
        p50_ns: figures.p50_ns,
        p99_ns: figures.p99_ns,
        max_ns: figures.max_ns,
        variance_ns2: figures.variance_ns2,
        share_of_mean: figures.share_of_mean,
        share_of_variance: figures.share_of_variance,
    }
}

/// The name of a run's file: of when it began, what it ran and on which kernel, so that the same run has the
/// same file.
fn file_name(report: &Report) -> String {
    let parts = [&report.started, &report.scenario, &report.host.kernel];
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '+') {
            c
        } else {
            '-'
        }
    };
    let parts = parts.map(|part| part.chars().map(safe).take(80).collect::<String>());
    format!("run-{}.jsonl", parts.join("_"))
}

/// Adds a run to a history, whole or not at all; returns whether it had anything to add. A run that is there already is
/// written anew.
///
/// # Errors
/// If it cannot be written.
pub fn append(folder: &Path, report: &Report) -> anyhow::Result<bool> {
    let mut bytes = Vec::new();
    for line in lines(report) {
        serde_json::to_writer(&mut bytes, &line)?;
        bytes.push(b'\n');
    }
    if bytes.is_empty() {
        return Ok(false);
    }
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    write_whole(folder, &file_name(report), &bytes)?;
    Ok(true)
}

/// All lines of a history, in the order of the runs' files.
///
/// # Errors
/// If it cannot be read, or a file of it is damaged or of another version; with file and line.
pub fn read(folder: &Path) -> anyhow::Result<Vec<Line>> {
    let context = || format!("cannot read the history {}", folder.display());
    let entries: io::Result<Vec<_>> = fs::read_dir(folder).with_context(context)?.collect();
    let mut paths: Vec<_> = entries
        .with_context(context)?
        .iter()
        .map(fs::DirEntry::path)
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "jsonl")
    });
    paths.sort();
    let mut lines = Vec::new();
    for path in paths {
        let file = path.display();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
        for (at, text) in text.lines().enumerate() {
            let line: Line = serde_json::from_str(text).with_context(|| {
                let at = at + 1;
                format!("{file}, line {at}, is damaged: append the run again, or remove the file")
            })?;
            if line.schema != SCHEMA {
                bail!(
                    "{file} is of the format {}, this tracer reads {SCHEMA}",
                    line.schema
                );
            }
            lines.push(line);
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(started: &str) -> Report {
        Report {
            started: started.into(),
            scenario: "a/../b".into(),
            breakdowns: vec![Breakdown {
                domain: "native".into(),
                datapath: "disk/native".into(),
                device: "sda \"x\"\n".into(),
                operation: "read".into(),
                approximate: false,
                total: Figures {
                    count: 4,
                    sum_ns: 400,
                    p50_ns: 90,
                    ..Figures::default()
                },
                histogram: Vec::new(),
                stages: Vec::new(),
                components: Vec::new(),
                iterations: Vec::new(),
                flags: std::collections::BTreeMap::new(),
                bytes: 0,
                by_interrupt: 0,
                by_irq: std::collections::BTreeMap::new(),
                interrupts: 0,
                slowest: Vec::new(),
                jitter: Vec::new(),
            }],
            ..Report::default()
        }
    }

    #[test]
    fn a_run_that_is_added_twice_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("history");
        for started in [
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z",
            "2026-01-01T00:00:00Z",
        ] {
            append(&at, &report(started)).unwrap();
        }
        let lines = read(&at).unwrap();
        assert_eq!(fs::read_dir(&at).unwrap().count(), 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].started < lines[1].started);
        assert!((lines[0].mean_ns - 100.0).abs() < 1e-9);
        let text = openmetrics(&lines).unwrap();
        assert!(text.ends_with("# EOF\n"));
        assert!(
            text.contains("stage=\"total\"") && text.contains("device=\"sda \\\"x\\\"\\n\""),
            "{text}"
        );
        assert!(text.contains("tracer_mean_seconds{"), "{text}");
        fs::write(at.join("run-x.jsonl"), "{}\n").unwrap();
        let error = format!("{:#}", read(&at).unwrap_err());
        assert!(error.contains("run-x.jsonl, line 1, is damaged"), "{error}");
    }
}
