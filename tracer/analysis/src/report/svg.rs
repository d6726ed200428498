//! A flame graph of the breakdowns, drawn by inferno.

use anyhow::{Context as _, bail};
use inferno::flamegraph::{self, Options};

use crate::{Report, report::folded};

pub(super) fn render(report: &Report) -> anyhow::Result<Vec<u8>> {
    let folded = folded::render(report);
    if report
        .breakdowns
        .iter()
        .all(|breakdown| breakdown.total.sum_ns == 0)
    {
        bail!("there is nothing to draw: the run has no spans");
    }
    let times = report
        .breakdowns
        .iter()
        .flat_map(|breakdown| &breakdown.stages)
        .map(|stage| stage.figures.sum_ns);
    // inferno adds them up in 64 bits; only a damaged recording has centuries to show.
    if times.map(u128::from).sum::<u128>() > u128::from(u64::MAX) {
        bail!("there is nothing to draw: the times of the spans add up to over 500 years");
    }
    let mut options = Options::default();
    options.title = format!("{}: where the time of all requests passed", report.scenario);
    options.count_name = "ns".into();
    draw(&folded, options)
}

/// Draws folded stacks, the same ones always in the same way.
pub(super) fn draw(folded: &str, mut options: Options<'_>) -> anyhow::Result<Vec<u8>> {
    options.deterministic = true;
    options.image_width = Some(1200);
    let mut out = Vec::new();
    flamegraph::from_lines(&mut options, folded.lines(), &mut out)
        .context("cannot draw the flame graph")?;
    Ok(out)
}
