//! One scenario on several kernels and hypervisors, each on a lab of its own that is gone afterwards.
use anyhow::{Result, bail};
use tracer_analysis::{Breakdown, Report};

use super::instance::{Config, Lab};
use super::kernel::{Kernel, Kernels};
use super::place;
use super::run::{self, Request, Silent};
use super::versions::Xen;
use crate::report;

/// One run's place in the table.
#[derive(Debug)]
struct Row {
    xen: Xen,
    kernel: Kernel,
    outcome: Result<i32>,
    report: Option<Report>,
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
    require_names(of.kernels)?;
    let mut rows = Vec::new();
    for &xen in of.xens {
        for kernel in of.kernels {
            rows.push(row(of, (xen, kernel), request)?);
        }
    }
    print!("{}", table(&rows));
    Ok(rows
        .iter()
        .map(|row| *row.outcome.as_ref().unwrap_or(&3))
        .max()
        .unwrap_or(0))
}

/// Runs are told by their kernels' names.
fn require_names(kernels: &[Kernel]) -> Result<()> {
    let mut names: Vec<String> = kernels.iter().map(Kernel::to_string).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => bail!(
            "two of the kernels are called {}: give each build a release of its own (CONFIG_LOCALVERSION)",
            pair[0]
        ),
        None => Ok(()),
    }
}

/// The name of a row's lab, as long as one may be: no other row's is up meanwhile.
fn lab_name(base: &str, xen: Xen, kernel: &Kernel) -> String {
    let name = format!("{base}-{xen}-{kernel}");
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    name.chars().take(place::LONGEST_NAME).collect()
}

/// A failure is the row's, and the others go on; a Ctrl-C ends all.
fn row(of: &Matrix<'_>, (xen, kernel): (Xen, &Kernel), request: &Request<'_>) -> Result<Row> {
    let config = Config {
        xen,
        kernels: Kernels::all(kernel),
        ..of.config.clone()
    };
    let lab = Lab::named(&lab_name(of.name, xen, kernel))?;
    let out = request.out.join(format!("xen-{xen}-linux-{kernel}"));
    let request = Request {
        out: &out,
        ..request.clone()
    };
    let outcome = lab.for_one_boot(&config, |lab| run::run(lab, &request, &mut Silent));
    crate::signal::check()?;
    if let Err(error) = &outcome {
        eprintln!("lab: Xen {xen}, Linux {kernel}: {error:#}");
    }
    let report = outcome
        .is_ok()
        .then(|| report::of_run(request.tracer, &out))
        .transpose()?;
    Ok(Row {
        xen,
        kernel: kernel.clone(),
        outcome,
        report,
    })
}

fn table(rows: &[Row]) -> String {
    let names = rows.iter().map(|row| row.kernel.to_string().len());
    let width = names.max().unwrap_or_default().max(5) + 2;
    let mut text = format!(
        "{:<6}{:<width$}{:<34}{:>9}{:>12}{:>12}{:>12}\n",
        "xen", "linux", "breakdown", "count", "mean us", "p99 us", "max us"
    );
    for row in rows {
        let versions = format!(
            "{:<6}{:<width$}",
            row.xen.to_string(),
            row.kernel.to_string()
        );
        match (&row.outcome, &row.report) {
            (Ok(_), Some(report)) => {
                for breakdown in &report.breakdowns {
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

fn line(breakdown: &Breakdown) -> String {
    let name = format!(
        "{} {} {} {}",
        breakdown.datapath, breakdown.domain, breakdown.device, breakdown.operation
    );
    let total = &breakdown.total;
    format!(
        "{name:<34}{:>9}{:>12.1}{:>12.1}{:>12.1}",
        total.count,
        total.mean_ns / 1e3,
        total.p99_ns as f64 / 1e3,
        total.max_ns as f64 / 1e3
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_version_has_a_row_that_says_why() {
        let row = |kernel: &str| Row {
            xen: Xen::V4_17,
            kernel: kernel.parse().unwrap(),
            outcome: Err(anyhow::anyhow!("Dom0 did not boot")),
            report: None,
        };
        let short = table(&[row("6.1")]);
        assert!(short.contains("4.17  6.1    Dom0 did not boot"), "{short}");
        let long = table(&[row("6.1"), row("7.3.4+deb13-amd64")]);
        assert!(long.contains("4.17  6.1          Dom0"), "{long}");
        assert!(long.contains("4.17  7.3.4+deb13  Dom0"), "{long}");
    }

    #[test]
    fn two_kernels_of_one_name_are_refused() {
        let kernels = |names: [&str; 2]| names.map(|name| name.parse::<Kernel>().unwrap());
        assert!(require_names(&kernels(["6.1", "6.1-rt"])).is_ok());
        let error = require_names(&kernels(["7.3", "7.3-amd64"])).unwrap_err();
        assert!(error.to_string().contains("are called 7.3"), "{error}");
    }

    #[test]
    fn labs_of_long_releases_have_a_name_that_is_one() {
        let kernel = "6.12.117+deb13-cloud-amd64".parse().unwrap();
        let name = lab_name("lab", Xen::V4_20, &kernel);
        assert_eq!(name, "lab-4-20-6-12-117-deb13-cloud");
        assert_eq!(
            lab_name("a-name-of-20-letters", Xen::V4_20, &kernel).len(),
            32
        );
    }
}
