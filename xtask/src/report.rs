//! The tracer's reports, as the library that writes them has them.
use std::path::Path;

use anyhow::{Context as _, Result};
use tracer_analysis::Report;

use crate::shell;

/// Reads what `--json` or `--format json` printed.
///
/// # Errors
/// When it is no report, or lacks a figure.
pub(crate) fn parse(text: &str) -> Result<Report> {
    serde_json::from_str(text).context("the tracer's report cannot be read")
}

/// The report of a run's directory.
///
/// # Errors
/// Also when the tracer makes none of it.
pub(crate) fn of_run(tracer: &Path, run: &Path) -> Result<Report> {
    let mut command = shell::command(tracer);
    command.arg("report").arg(run).args(["--format", "json"]);
    parse(&shell::output(&mut command)?)
}

#[cfg(test)]
mod tests {
    use tracer_analysis::document::DomainReport;

    use super::*;

    #[test]
    fn what_lacks_a_figure_is_no_report_and_the_error_names_it() {
        let report = Report {
            domains: vec![DomainReport {
                lost: 3,
                ..DomainReport::default()
            }],
            ..Report::default()
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(parse(&text).unwrap(), report);
        let error = parse(&text.replace("\"lost\":3,", "")).unwrap_err();
        assert!(format!("{error:#}").contains("`lost`"), "{error:#}");
        assert!(parse("{}").is_err());
    }
}
