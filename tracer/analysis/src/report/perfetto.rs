//! The slowest requests as a trace for ui.perfetto.dev (Chrome's trace event format: complete events,
//! times in microseconds).

use serde_json::{Value, json};

use crate::{
    Report,
    breakdown::{Breakdown, SlowSpan},
};

pub(super) fn render(report: &Report) -> Value {
    let start = report
        .breakdowns
        .iter()
        .flat_map(|breakdown| &breakdown.slowest)
        .filter_map(|span| span.points.first().map(|point| point.1))
        .min()
        .unwrap_or(0);
    let mut events = Vec::new();
    for (process, breakdown) in report.breakdowns.iter().enumerate() {
        events.push(json!({
            "ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": breakdown.title()}
        }));
        for (thread, span) in breakdown.slowest.iter().enumerate() {
            add(&mut events, (process, thread), breakdown, span, start);
        }
    }
    json!({"displayTimeUnit": "ns", "traceEvents": events, "otherData": {"scenario": report.scenario, "schema": report.schema}})
}

fn add(
    events: &mut Vec<Value>,
    place: (usize, usize),
    breakdown: &Breakdown,
    span: &SlowSpan,
    start: u64,
) {
    let micros = |ns: u64| ns as f64 / 1e3;
    let Some(first) = span.points.first() else {
        return;
    };
    events.push(json!({
        "ph": "X", "pid": place.0, "tid": place.1, "cat": breakdown.datapath,
        "name": format!("{} {}", breakdown.operation, span.position),
        "ts": micros(first.1 - start), "dur": micros(span.total_ns),
        "args": {"bytes": span.bytes, "thread": span.tid, "iteration": span.iteration, "flags": span.flags}
    }));
    for pair in span.points.windows(2) {
        events.push(json!({
            "ph": "X", "pid": place.0, "tid": place.1, "cat": "stage",
            "name": format!("{}..{}", pair[0].0, pair[1].0),
            "ts": micros(pair[0].1 - start), "dur": micros(pair[1].1 - pair[0].1)
        }));
    }
}
