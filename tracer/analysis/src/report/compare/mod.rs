//! A comparison of two runs in the forms that people and programs read.

mod html;
mod rows;
mod svg;
mod text;

use crate::compare::Comparison;

/// A form of comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a terminal.
    Text,
    /// For programs: `docs/compare.md`.
    Json,
    /// A differential flame graph.
    Svg,
    /// One self-contained page.
    Html,
}

/// Renders a comparison.
///
/// # Errors
/// If a flame graph is asked for and there is nothing to draw.
pub fn render(comparison: &Comparison, format: Format) -> anyhow::Result<Vec<u8>> {
    match format {
        Format::Text => Ok(text::render(comparison).into_bytes()),
        Format::Json => {
            let mut bytes = serde_json::to_vec_pretty(comparison)?;
            bytes.push(b'\n');
            Ok(bytes)
        }
        Format::Svg => svg::render(comparison),
        Format::Html => html::render(comparison).map(String::into_bytes),
    }
}
