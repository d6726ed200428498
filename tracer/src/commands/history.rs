//! `tracer history`: runs over time, for dashboards.

use crate::{
    cli::{HistoryCommand, HistoryFormat},
    commands::{WELL, deliver, load},
};
use tracer_analysis::history;

/// Adds runs to a history, or exports it; returns the exit code.
pub(super) fn obey(command: &HistoryCommand) -> anyhow::Result<u8> {
    match command {
        HistoryCommand::Append { runs, dir } => {
            for run in runs {
                if !history::append(dir, &load::run(run)?.report)? {
                    tracing::warn!(
                        "{} has no requests, and so nothing to append: `tracer report` says why",
                        run.display()
                    );
                }
            }
        }
        HistoryCommand::Export {
            dir,
            format,
            output,
        } => {
            let lines = history::read(dir)?;
            let bytes = match format {
                HistoryFormat::Openmetrics => history::openmetrics(&lines)?.into_bytes(),
                HistoryFormat::Parquet => history::parquet(&lines)?,
            };
            deliver(output.as_deref(), &bytes)?;
        }
    }
    Ok(WELL)
}
