//! A report in the forms that people and programs read.

pub mod check;
pub mod compare;
mod folded;
mod html;
pub mod paper;
mod perfetto;
mod svg;
mod text;

use crate::Report;

/// A form of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a terminal.
    Text,
    /// For programs: `docs/report-schema.md`.
    Json,
    /// Folded stacks, weights in nanoseconds, for flame graph tools.
    Folded,
    /// A flame graph.
    Svg,
    /// One self-contained page.
    Html,
    /// A trace of the slowest requests, for ui.perfetto.dev.
    Perfetto,
}

/// Renders a report.
///
/// # Errors
/// If a flame graph is asked for and there is nothing to draw.
pub fn render(report: &Report, format: Format) -> anyhow::Result<Vec<u8>> {
    match format {
        Format::Text => Ok(text::render(report).into_bytes()),
        Format::Json => {
            let mut bytes = serde_json::to_vec_pretty(report)?;
            bytes.push(b'\n');
            Ok(bytes)
        }
        Format::Folded => Ok(folded::render(report).into_bytes()),
        Format::Svg => svg::render(report),
        Format::Html => html::render(report).map(String::into_bytes),
        Format::Perfetto => Ok(serde_json::to_vec(&perfetto::render(report))?),
    }
}
