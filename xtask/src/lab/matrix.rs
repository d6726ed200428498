//! One scenario on several kernels and hypervisors, each on a lab of its own that is gone afterwards.
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::instance::{Config, Lab};
use super::run::{self, Request, Silent};
use super::versions::{Kernel, Xen};
use crate::shell;

/// One run's place in the table.
#[derive(Debug)]
struct Row {
    xen: Xen,
    kernel: Kernel,
    outcome: Result<i32>,
    report: Option<Value>,
}

/// The versions to run on.
#[derive(Clone, Debug)]
pub(super) struct Matrix<'a> {
    pub(super) kernels: &'a [Kernel],
    pub(super) xens: &'a [Xen],
    /// The base of the labs' names.
    pub(super) name: &'a str,
    pub(super) config: Config,
}

/// Runs the scenario on every pair and prints a table; returns the worst exit code.
pub(super) fn matrix(of: &Matrix<'_>, request: &Request<'_>) -> Result<i32> {
    let mut rows = Vec::new();
    for &xen in of.xens {
        for kernel in of.kernels {
            let config = Config {
                xen,
                kernel: kernel.clone(),
                ..of.config.clone()
            };
            rows.push(row(of, &config, request)?);
        }
    }
    print!("{}", table(&rows));
    Ok(rows
        .iter()
        .map(|row| *row.outcome.as_ref().unwrap_or(&3))
        .max()
        .unwrap_or(0))
}

/// A failure is the row's, and the others go on; a Ctrl-C ends all.
fn row(of: &Matrix<'_>, config: &Config, request: &Request<'_>) -> Result<Row> {
    let (xen, kernel) = (config.xen, config.kernel.clone());
    let lab = Lab::named(&format!("{}-{xen}-{kernel}", of.name).replace('.', "-"))?;
    let out = request.out.join(format!("xen-{xen}-linux-{kernel}"));
    let request = Request {
        out: &out,
        ..request.clone()
    };
    let outcome = lab.for_one_boot(config, |lab| run::run(lab, &request, &mut Silent));
    crate::signal::check()?;
    if let Err(error) = &outcome {
        eprintln!("lab: Xen {xen}, Linux {kernel}: {error:#}");
    }
    let report = outcome
        .is_ok()
        .then(|| report(request.tracer, &out))
        .transpose()?;
    Ok(Row {
        xen,
        kernel,
        outcome,
        report,
    })
}

fn report(tracer: &Path, run: &Path) -> Result<Value> {
    let mut command = shell::command(tracer);
    command.arg("report").arg(run).args(["--format", "json"]);
    let text = shell::output(&mut command)?;
    serde_json::from_str(&text).context("the tracer's report is no JSON")
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<6}{:<7}{:<34}{:>9}{:>12}{:>12}{:>12}\n",
        "xen", "linux", "breakdown", "count", "mean us", "p99 us", "max us"
    );
    for row in rows {
        let versions = format!("{:<6}{:<7}", row.xen.to_string(), row.kernel.to_string());
        let breakdowns = row
            .report
            .as_ref()
            .and_then(|report| report["breakdowns"].as_array());
        match (&row.outcome, breakdowns) {
            (Ok(_), Some(breakdowns)) => {
                for breakdown in breakdowns {
                    text += &format!("{versions}{}\n", line(breakdown));
                }
            }
            (outcome, _) => {
                let why = outcome
                    .as_ref()
                    .err()
                    .map_or_else(|| "no breakdown".to_owned(), |error| error.to_string());
                text += &format!("{versions}{why}\n");
            }
        }
    }
    text
}

fn line(breakdown: &Value) -> String {
    let word = |key: &str| breakdown[key].as_str().unwrap_or_default();
    let name = format!(
        "{} {} {} {}",
        word("datapath"),
        word("domain"),
        word("device"),
        word("operation")
    );
    let total = &breakdown["total"];
    let us = |key: &str| total[key].as_f64().unwrap_or(f64::NAN) / 1000.0;
    format!(
        "{name:<34}{:>9}{:>12.1}{:>12.1}{:>12.1}",
        total["count"].as_u64().unwrap_or(0),
        us("mean_ns"),
        us("p99_ns"),
        us("max_ns")
    )
}

#[cfg(test)]
mod tests {
    use super::super::versions::Debian;
    use super::*;

    #[test]
    fn failed_version_has_a_row_that_says_why() {
        let rows = [Row {
            xen: Xen::V4_17,
            kernel: Kernel::Debian(Debian::V6_1),
            outcome: Err(anyhow::anyhow!("Dom0 did not boot")),
            report: None,
        }];
        let table = table(&rows);
        assert!(table.contains("4.17  6.1    Dom0 did not boot"), "{table}");
    }
}
