//! The report as one page that needs nothing else: flame graph, a histogram for each stage, a timeline
//! of the slowest requests, tables.

use std::fmt::Write as _;

use crate::{
    Report,
    breakdown::{Breakdown, Bucket, SlowSpan, StageFigures},
    report::{svg, text},
    units::{bytes, percent, time},
};

pub(super) const STYLE: &str = include_str!("report.css");

/// Text as HTML: names come from devices, drivers and scenario files.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

pub(super) fn render(report: &Report) -> anyhow::Result<String> {
    let mut out = String::new();
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style></head><body><header><h1>{0}</h1><p>{1}</p><p class=\"quiet\">Linux {2} · {3} · {4} CPUs · clock source {5} · {6}</p></header><main>",
        escape(&report.scenario),
        escape(&report.question),
        escape(&report.host.kernel),
        escape(&report.host.cpu_model),
        report.host.cpus,
        escape(&report.host.clocksource),
        escape(&report.started)
    )?;
    if let Some(reason) = &report.partial {
        write!(
            out,
            "<p class=\"alarm\">Partial run: {}</p>",
            escape(reason)
        )?;
    }
    for warning in &report.warnings {
        write!(out, "<p class=\"alarm\">{}</p>", escape(warning))?;
    }
    if let Ok(flame) = svg::render(report) {
        let flame = String::from_utf8_lossy(&flame);
        // An XML declaration and a doctype have no place inside a page.
        let flame = flame.find("<svg").map_or("", |start| &flame[start..]);
        write!(
            out,
            "<section><h2>Where the time of all requests passed</h2><div class=\"flame\">{flame}</div></section>"
        )?;
    }
    for breakdown in &report.breakdowns {
        write_breakdown(&mut out, breakdown)?;
    }
    write!(
        out,
        "<section><h2>The whole report as text</h2><pre>{}</pre></section></main></body></html>",
        escape(&text::render(report))
    )?;
    Ok(out)
}

fn write_breakdown(out: &mut String, breakdown: &Breakdown) -> std::fmt::Result {
    let total = &breakdown.total;
    write!(
        out,
        "<section><h2>{}</h2><p>{} requests, {}; mean <b>{}</b>, p99 {}, max {}, standard deviation {}</p>",
        escape(&breakdown.title()),
        total.count,
        bytes(breakdown.bytes as f64),
        time(total.mean_ns),
        time(total.p99_ns as f64),
        time(total.max_ns as f64),
        time(total.variance_ns2.sqrt())
    )?;
    for sentence in &breakdown.jitter {
        write!(out, "<p><b>{}</b></p>", escape(sentence))?;
    }
    out.push_str("<table><thead><tr><th>stage<th>component<th>count<th>mean<th>p50<th>p99<th>p99.9<th>max<th>share of mean<th>share of variance<th>distribution (logarithmic)</thead><tbody>");
    for (index, stage) in breakdown.stages.iter().enumerate() {
        write_stage(out, stage, index)?;
    }
    out.push_str("</tbody></table>");
    write_timeline(out, breakdown)?;
    out.push_str("</section>");
    Ok(())
}

fn write_stage(out: &mut String, stage: &StageFigures, index: usize) -> std::fmt::Result {
    let f = &stage.figures;
    write!(
        out,
        "<tr><td><i class=\"c{}\"></i>{} → {} {}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td><span class=\"bar\" style=\"width:{:.1}%\"></span>{}<td>{}<td>",
        index % 10,
        escape(&stage.from),
        escape(&stage.to),
        escape(stage.letters.as_deref().unwrap_or("")),
        stage.component.name(),
        f.count,
        time(f.mean_ns),
        time(f.p50_ns as f64),
        time(f.p99_ns as f64),
        time(f.p999_ns as f64),
        time(f.max_ns as f64),
        f.share_of_mean.clamp(0.0, 1.0) * 60.0,
        percent(f.share_of_mean),
        percent(f.share_of_variance)
    )?;
    write_histogram(out, &stage.histogram)
}

fn write_histogram(out: &mut String, histogram: &[Bucket]) -> std::fmt::Result {
    let most = histogram
        .iter()
        .map(|bucket| bucket.count)
        .max()
        .unwrap_or(0)
        .max(1);
    write!(
        out,
        "<svg class=\"hist\" viewBox=\"0 0 {} 24\" role=\"img\"><title>distribution</title>",
        histogram.len().max(1) * 5
    )?;
    for (index, bucket) in histogram.iter().enumerate() {
        let height = (bucket.count as f64 / most as f64 * 22.0).max(1.0);
        write!(
            out,
            "<rect x=\"{}\" y=\"{:.1}\" width=\"4\" height=\"{height:.1}\"><title>{} to {}: {}</title></rect>",
            index * 5,
            24.0 - height,
            time(bucket.from_ns as f64),
            time(bucket.to_ns as f64),
            bucket.count
        )?;
    }
    out.push_str("</svg>");
    Ok(())
}

fn write_timeline(out: &mut String, breakdown: &Breakdown) -> std::fmt::Result {
    let Some(longest) = breakdown.slowest.first().map(|span| span.total_ns.max(1)) else {
        return Ok(());
    };
    out.push_str("<h3>The slowest, one by one</h3><div class=\"timeline\">");
    for span in &breakdown.slowest {
        write_span(out, breakdown, span, longest)?;
    }
    out.push_str("</div>");
    Ok(())
}

fn write_span(
    out: &mut String,
    breakdown: &Breakdown,
    span: &SlowSpan,
    longest: u64,
) -> std::fmt::Result {
    write!(
        out,
        "<div class=\"row\"><span>{}</span><div class=\"track\">",
        time(span.total_ns as f64)
    )?;
    for pair in span.points.windows(2) {
        let length = pair[1].1 - pair[0].1;
        let colour = breakdown
            .stages
            .iter()
            .position(|stage| stage.from == pair[0].0 && stage.to == pair[1].0)
            .unwrap_or(0);
        write!(
            out,
            "<i class=\"c{}\" style=\"width:{:.3}%\" title=\"{} → {}: {}\"></i>",
            colour % 10,
            length as f64 / longest as f64 * 100.0,
            escape(&pair[0].0),
            escape(&pair[1].0),
            time(length as f64)
        )?;
    }
    write!(
        out,
        "</div><span class=\"quiet\">iteration {}, {}, {} bytes {}</span></div>",
        span.iteration.saturating_add(1),
        escape(&span.position),
        span.bytes,
        escape(&span.flags.join(" "))
    )
}
