//! The paper's figures and tables, as one page and as CSV files.

mod chart;
mod csv;
mod html;

use crate::paper::Paper;

/// A file: its name, and what is in it.
pub type Rendered = (String, Vec<u8>);

/// Renders the page, `index.html`, and a CSV file for each figure and table.
///
/// # Errors
/// If a CSV file cannot be made, which is a fault of the program.
pub fn render(paper: &Paper) -> anyhow::Result<Vec<Rendered>> {
    let mut files = vec![("index.html".to_owned(), html::render(paper)?.into_bytes())];
    for figure in &paper.figures {
        let name = format!("{}.csv", figure.key.key());
        files.push((name, csv::render(figure, &paper.runs)?));
    }
    Ok(files)
}
