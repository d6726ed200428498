//! `tracer paper`: the paper's figures and tables, from runs of its scenarios.

use std::fs;

use anyhow::Context as _;

use crate::{
    cli::PaperArgs,
    commands::{PARTIAL, WELL, deliver, load},
};
use tracer_analysis::{
    paper::{Paper, Published},
    report,
};

/// Writes the page and its CSV files; returns the exit code.
pub(super) fn obey(args: &PaperArgs) -> anyhow::Result<u8> {
    let published = match &args.published {
        Some(path) => Published::load(path)?,
        None => Published::default(),
    };
    let mut inputs = Vec::new();
    for (index, path) in args.runs.iter().enumerate() {
        // A long run's records take a while to read.
        tracing::info!(
            "reading {} ({} of {})",
            path.display(),
            index + 1,
            args.runs.len()
        );
        inputs.push(load::input(path)?);
    }
    let paper = Paper::new(inputs, published)?;
    let files = report::paper::render(&paper)?;
    let out = &args.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    for (name, bytes) in &files {
        deliver(Some(&out.join(name)), bytes)?;
    }
    tracing::info!("the page is {}", out.join("index.html").display());
    Ok(if paper.is_whole() { WELL } else { PARTIAL })
}
