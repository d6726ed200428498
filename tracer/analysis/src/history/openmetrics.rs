//! A history as OpenMetrics: gauges, one a figure, labelled by run and stage.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::Line;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    started: String,
    scenario: String,
    kernel: String,
    xen_role: String,
    domain: String,
    datapath: String,
    device: String,
    operation: String,
    stage: String,
    component: String,
}

/// A figure: its name, what it is, its unit, and how a line has it.
type Figure = (&'static str, &'static str, Option<Unit>, fn(&Line) -> f64);

const NS: f64 = 1e9;

/// The figures. The conventions of OpenMetrics want base units: seconds.
fn figures() -> [Figure; 8] {
    [
        (
            "tracer_mean",
            "Mean over all requests",
            Some(Unit::Seconds),
            |line| line.mean_ns / NS,
        ),
        (
            "tracer_p50",
            "Median of the requests that had it",
            Some(Unit::Seconds),
            |line| line.p50_ns as f64 / NS,
        ),
        (
            "tracer_p99",
            "99th percentile of these",
            Some(Unit::Seconds),
            |line| line.p99_ns as f64 / NS,
        ),
        ("tracer_max", "Longest", Some(Unit::Seconds), |line| {
            line.max_ns as f64 / NS
        }),
        (
            "tracer_stddev",
            "Standard deviation of these",
            Some(Unit::Seconds),
            |line| line.variance_ns2.max(0.0).sqrt() / NS,
        ),
        ("tracer_requests", "Requests that had it", None, |line| {
            line.count as f64
        }),
        (
            "tracer_share_of_variance",
            "Share of the totals' variance",
            None,
            |line| line.share_of_variance,
        ),
        (
            "tracer_lost",
            "Requests of the run that were lost, as a share",
            None,
            |line| line.lost_share,
        ),
    ]
}

/// Renders a history.
///
/// # Errors
/// If it cannot be encoded.
pub fn render(lines: &[Line]) -> anyhow::Result<String> {
    let mut registry = Registry::default();
    for (name, help, unit, of) in figures() {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for line in lines {
            family.get_or_create(&labels(line)).set(of(line));
        }
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, family),
            None => registry.register(name, help, family),
        }
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(sorted(&text))
}

/// A family gives its samples in no order; the same history is to be the same text.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for samples in lines.split_mut(|line| line.starts_with('#')) {
        samples.sort_unstable();
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn labels(line: &Line) -> Labels {
    Labels {
        started: line.started.clone(),
        scenario: line.scenario.clone(),
        kernel: line.kernel.clone(),
        xen_role: line.xen_role.clone(),
        domain: line.domain.clone(),
        datapath: line.datapath.clone(),
        device: line.device.clone(),
        operation: line.operation.clone(),
        stage: line.stage.clone(),
        component: line
            .component
            .map_or("", |component| component.name())
            .into(),
    }
}
