//! The comparison as one page that needs nothing else: differential flame graph, tables.

use std::fmt::{Result, Write as _};

use crate::{
    compare::{Compared, Comparison, Pair, Part, RunFacts, Side, StageCompared, Stretch},
    report::{
        compare::{
            rows::{Cells, iteration_rows, or_nothing, xen},
            svg, text,
        },
        html::{STYLE, escape},
    },
    units::percent,
};

const CELLS: Cells = Cells("–");

const OWN_STYLE: &str = include_str!("compare.css");

/// Columns of the parts' tables after the name.
const PART_COLUMNS: &str = "<th>A mean<th>B mean<th>B−A<th>B/A<th>of B−A<th>of variance";

pub(super) fn render(comparison: &Comparison) -> anyhow::Result<String> {
    let mut out = String::new();
    let (a, b) = (&comparison.a, &comparison.b);
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{STYLE}{OWN_STYLE}</style></head><body><header><h1>{0}</h1>",
        escape(&title(a, b))
    )?;
    for (side, run) in [(Side::A, a), (Side::B, b)] {
        write_run(&mut out, side, run)?;
    }
    out.push_str("</header><main>");
    for warning in &comparison.warnings {
        write!(out, "<p class=\"alarm\">{}</p>", escape(warning))?;
    }
    write_differences(&mut out, comparison)?;
    if let Ok(flame) = svg::render(comparison) {
        let flame = String::from_utf8_lossy(&flame);
        // An XML declaration and a doctype have no place inside a page.
        let flame = flame.find("<svg").map_or("", |start| &flame[start..]);
        write!(
            out,
            "<section><h2>Mean time of a request, A against B</h2><div class=\"flame\">{flame}</div></section>"
        )?;
    }
    for pair in &comparison.pairs {
        write_pair(&mut out, pair)?;
    }
    write_unpaired(&mut out, comparison)?;
    write_iterations(&mut out, comparison)?;
    write_interrupts(&mut out, comparison)?;
    write!(
        out,
        "<section><h2>The whole comparison as text</h2><pre>{}</pre></section></main></body></html>",
        escape(&text::render(comparison))
    )?;
    Ok(out)
}

fn title(a: &RunFacts, b: &RunFacts) -> String {
    if a.scenario == b.scenario {
        format!("{}: two runs compared", a.scenario)
    } else {
        format!("{} compared with {}", b.scenario, a.scenario)
    }
}

fn write_run(out: &mut String, side: Side, run: &RunFacts) -> Result {
    write!(
        out,
        "<p><b>{}</b>: {} · {} <span class=\"quiet\">Linux {} · {} · {} · {} CPUs · {} · {} lost</span></p>",
        side.name(),
        escape(&run.source),
        escape(&run.question),
        escape(&run.host.kernel),
        escape(&xen(&run.host.xen_role)),
        escape(&run.host.cpu_model),
        run.host.cpus,
        escape(&run.started),
        percent(run.lost_share)
    )
}

fn write_differences(out: &mut String, comparison: &Comparison) -> Result {
    if comparison.differences.is_empty() {
        return Ok(());
    }
    out.push_str("<section><h2>What else differs</h2><table class=\"compare\"><thead><tr><th>what<th class=\"text\">A<th class=\"text\">B</thead><tbody>");
    for difference in &comparison.differences {
        write!(
            out,
            "<tr><td>{}<td class=\"text\">{}<td class=\"text\">{}",
            escape(&difference.what),
            escape(or_nothing(&difference.a)),
            escape(or_nothing(&difference.b))
        )?;
    }
    out.push_str("</tbody></table></section>");
    Ok(())
}

fn write_pair(out: &mut String, pair: &Pair) -> Result {
    write!(
        out,
        "<section><h2>{}</h2><p><b>A</b>: {}, {} requests · <b>B</b>: {}, {} requests</p>",
        escape(&pair.title()),
        escape(&pair.a.title),
        pair.a.count,
        escape(&pair.b.title),
        pair.b.count
    )?;
    for finding in &pair.findings {
        write!(out, "<p><b>{}</b></p>", escape(finding))?;
    }
    write!(
        out,
        "<table class=\"compare\"><thead><tr><th>stage<th class=\"text\">component{PART_COLUMNS}<th>A p50<th>B p50<th>A p99<th>B p99<th>A count<th>B count<th></thead><tbody>"
    )?;
    let longest = longest(pair);
    for stage in &pair.stages {
        write_stage(out, pair, stage, longest)?;
    }
    let total = &pair.total;
    out.push_str("<tr class=\"whole\"><td>total<td>");
    write_means(out, &total.mean_ns, longest)?;
    out.push_str("<td><td>");
    write_cells(out, &CELLS.percentiles(&total.p50_ns, &total.p99_ns))?;
    write!(out, "<td>{}<td>{}<td>", pair.a.count, pair.b.count)?;
    if let Some(way) = pair.way.as_ref().filter(|way| !way.is_total) {
        write!(
            out,
            "<tr class=\"whole\"><td>{} … {}<td class=\"note\">both timed",
            escape(&way.from),
            escape(&way.to)
        )?;
        write_means(out, &way.mean_ns, longest)?;
        out.push_str(&"<td>".repeat(9));
    }
    out.push_str("</tbody></table>");
    write_stretches(out, pair, longest)?;
    write_components(out, pair, longest)?;
    out.push_str("</section>");
    Ok(())
}

/// The largest difference of a pair's stages: the longest bar.
fn longest(pair: &Pair) -> f64 {
    let steps = pair
        .stages
        .iter()
        .map(|stage| stage.part.mean_ns.step().abs());
    steps.fold(pair.total.mean_ns.step().abs(), f64::max)
}

fn write_stage(out: &mut String, pair: &Pair, stage: &StageCompared, longest: f64) -> Result {
    write!(
        out,
        "<tr><td>{} → {} {}<td class=\"note\">{}",
        escape(&stage.from),
        escape(&stage.to),
        escape(stage.letters.as_deref().unwrap_or("")),
        stage.component.name()
    )?;
    write_part(out, pair, &stage.part, longest)?;
    write_cells(out, &CELLS.percentiles(&stage.p50_ns, &stage.p99_ns))?;
    write!(out, "<td>{}<td>{}", stage.count_a, stage.count_b)?;
    write_only(out, stage.only_in)
}

fn write_part(out: &mut String, pair: &Pair, part: &Part, longest: f64) -> Result {
    write_means(out, &part.mean_ns, longest)?;
    write_cells(out, &CELLS.shares(pair, part))
}

fn write_means(out: &mut String, mean: &Compared, longest: f64) -> Result {
    let [a, b, difference, ratio] = CELLS.means(mean);
    write!(out, "<td>{a}<td>{b}<td>")?;
    if let Some(step) = mean.difference {
        let width = step.abs() / longest.max(1.0) * 60.0;
        let colour = if step > 0.0 { "more" } else { "less" };
        write!(
            out,
            "<span class=\"step {colour}\" style=\"width:{width:.0}px\"></span>"
        )?;
    }
    write!(out, "{difference}<td>{ratio}")
}

fn write_cells(out: &mut String, cells: &[String]) -> Result {
    cells.iter().try_for_each(|cell| write!(out, "<td>{cell}"))
}

fn write_only(out: &mut String, side: Option<Side>) -> Result {
    let name = side.map_or_else(String::new, |side| format!("only in {}", side.name()));
    write!(out, "<td class=\"note\">{name}")
}

fn write_stretches(out: &mut String, pair: &Pair, longest: f64) -> Result {
    let apart = |stretch: &&Stretch| !stretch.is_one_stage();
    if !pair.stretches.iter().any(|stretch| apart(&stretch)) {
        return Ok(());
    }
    write!(
        out,
        "<h3>Where the ways differ, between points that both have</h3><table class=\"compare\"><thead><tr><th>stretch{PART_COLUMNS}<th class=\"text\">A's stages<th class=\"text\">B's stages</thead><tbody>"
    )?;
    for stretch in pair.stretches.iter().filter(apart) {
        write!(
            out,
            "<tr><td>{} … {}",
            escape(&stretch.from),
            escape(&stretch.to)
        )?;
        write_part(out, pair, &stretch.part, longest)?;
        for stages in [&stretch.stages_a, &stretch.stages_b] {
            write!(out, "<td class=\"text\">{}", escape(&stages.join(", ")))?;
        }
    }
    out.push_str("</tbody></table>");
    Ok(())
}

fn write_components(out: &mut String, pair: &Pair, longest: f64) -> Result {
    write!(
        out,
        "<h3>By component, the largest difference first</h3><table class=\"compare\"><thead><tr><th>component{PART_COLUMNS}<th></thead><tbody>"
    )?;
    for component in &pair.components {
        write!(out, "<tr><td>{}", component.component.name())?;
        write_part(out, pair, &component.part, longest)?;
        write_only(out, component.only_in)?;
    }
    out.push_str("</tbody></table>");
    Ok(())
}

fn write_unpaired(out: &mut String, comparison: &Comparison) -> Result {
    if comparison.unpaired.is_empty() {
        return Ok(());
    }
    out.push_str("<section><h2>Not paired</h2><table class=\"compare\"><thead><tr><th>requests of<th>count<th class=\"text\">why</thead><tbody>");
    for unpaired in &comparison.unpaired {
        write!(
            out,
            "<tr><td>{}: {}<td>{}<td class=\"text\">{}",
            unpaired.side.name(),
            escape(&unpaired.title),
            unpaired.count,
            escape(&unpaired.why)
        )?;
    }
    out.push_str("</tbody></table></section>");
    Ok(())
}

fn write_iterations(out: &mut String, comparison: &Comparison) -> Result {
    let Some(iterations) = &comparison.iterations else {
        return Ok(());
    };
    out.push_str("<section><h2>Iterations</h2><table class=\"compare\"><thead><tr><th>of the load<th>A<th>B<th>B−A<th>B/A</thead><tbody>");
    for row in iteration_rows(iterations) {
        write!(out, "<tr><td>{}", row.0)?;
        write_cells(out, &CELLS.iteration(&row))?;
    }
    out.push_str("</tbody></table></section>");
    Ok(())
}

fn write_interrupts(out: &mut String, comparison: &Comparison) -> Result {
    if comparison.interrupts.is_empty() {
        return Ok(());
    }
    out.push_str("<section><h2>Interrupts</h2><table class=\"compare\"><thead><tr><th>handler<th>A an iteration<th>B an iteration<th>B/A<th>A handler time<th>B handler time<th>B/A<th>A to soft interrupt<th>B to soft interrupt<th></thead><tbody>");
    for irq in &comparison.interrupts {
        write!(out, "<tr><td>{}", escape(&irq.name))?;
        write_cells(out, &CELLS.interrupt(irq))?;
        write_only(out, irq.only_in)?;
    }
    out.push_str("</tbody></table></section>");
    Ok(())
}
