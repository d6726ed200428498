//! What a scenario's types alone cannot say: ranges, references, fields that go together.

mod domains;
mod loads;
mod resources;
mod rule;

use crate::{
    datapath::DATAPATHS,
    scenario::{
        check::{
            domains::check_domains,
            loads::check_load,
            resources::{check_resources, refer},
            rule::{Checked, check_datapaths, check_name, problem},
        },
        types::{Mode, ResourceKind, Scenario},
    },
};

pub(in crate::scenario) fn check(scenario: &Scenario) -> Checked {
    if scenario.schema != 1 {
        return Err(problem(
            "schema",
            format!("is {}; this tracer knows schema 1", scenario.schema),
        ));
    }
    check_name("name", &scenario.name)?;
    check_domains(scenario)?;
    check_resources(scenario)?;
    check_load(scenario, "workload", &scenario.workload, true)?;
    for (index, load) in scenario.background.iter().enumerate() {
        check_load(scenario, &format!("background.{index}"), load, false)?;
    }
    check_run(scenario)?;
    check_probes(scenario)?;
    check_thresholds(scenario)
}

fn check_run(scenario: &Scenario) -> Checked {
    let run = &scenario.run;
    if run.iterations == 0 || run.iterations > 100_000 {
        return Err(problem(
            "run.iterations",
            format!("is {}; allowed: 1 to 100000", run.iterations),
        ));
    }
    if run.warm_up > 100_000 {
        return Err(problem(
            "run.warm_up",
            format!("is {}; allowed: 0 to 100000", run.warm_up),
        ));
    }
    if run.timeout.0.is_zero() {
        return Err(problem("run.timeout", "is 0; allowed: more than 0"));
    }
    match (&run.read_before, &run.read_before_file) {
        (Some(_), None) => Err(problem(
            "run.read_before_file",
            "is missing: run.read_before needs a file to read",
        )),
        (None, Some(_)) => Err(problem(
            "run.read_before",
            "is missing: how much of run.read_before_file shall be read?",
        )),
        _ => Ok(()),
    }
}

fn check_probes(scenario: &Scenario) -> Checked {
    let probes = &scenario.probes;
    let known: Vec<&str> = DATAPATHS.iter().map(|path| path.name).collect();
    if probes.datapaths.is_empty() {
        return Err(problem(
            "probes.datapaths",
            format!("is empty; allowed: {}", known.join(", ")),
        ));
    }
    check_datapaths("probes.datapaths", &probes.datapaths)?;
    if probes.mode == Mode::Aggregate && scenario.domain.len() > 1 {
        return Err(problem(
            "probes.mode",
            "is \"aggregate\", which keeps no requests that could be joined; with several domains only \"spans\" is allowed",
        ));
    }
    if !(4096..=1 << 30).contains(&probes.ring_buffer.0) {
        return Err(problem(
            "probes.ring_buffer",
            format!("is {} bytes; allowed: 4KiB to 1GiB", probes.ring_buffer.0),
        ));
    }
    if !(4..=1 << 22).contains(&probes.in_flight) {
        return Err(problem(
            "probes.in_flight",
            format!("is {}; allowed: 4 to 4194304", probes.in_flight),
        ));
    }
    if probes.sample == 0 {
        return Err(problem(
            "probes.sample",
            "is 0; allowed: 1 (every packet) or more (one in so many)",
        ));
    }
    if !(0.0..=100.0).contains(&probes.max_lost_percent) {
        return Err(problem(
            "probes.max_lost_percent",
            format!("is {}; allowed: 0 to 100", probes.max_lost_percent),
        ));
    }
    if probes.slowest > 10_000 {
        return Err(problem(
            "probes.slowest",
            format!("is {}; allowed: 0 to 10000", probes.slowest),
        ));
    }
    check_followed(scenario)
}

/// Devices and ports to follow.
fn check_followed(scenario: &Scenario) -> Checked {
    let probes = &scenario.probes;
    for (index, device) in probes.devices.iter().flatten().enumerate() {
        if let Some(name) = device.strip_prefix('@') {
            refer(
                scenario,
                &format!("probes.devices.{index}"),
                name,
                &[ResourceKind::Loop, ResourceKind::File],
            )?;
        }
    }
    match &probes.ports {
        Some(ports) if ports.len() > tracer_common::settings::MAX_PORTS => Err(problem(
            "probes.ports",
            format!(
                "has {} ports; allowed: up to {}",
                ports.len(),
                tracer_common::settings::MAX_PORTS
            ),
        )),
        _ => Ok(()),
    }
}

fn check_thresholds(scenario: &Scenario) -> Checked {
    for (index, threshold) in scenario.threshold.iter().enumerate() {
        if !scenario.probes.datapaths.contains(&threshold.datapath) {
            return Err(problem(
                format!("threshold.{index}.datapath"),
                format!(
                    "{:?} is not traced; allowed: {}",
                    threshold.datapath,
                    scenario.probes.datapaths.join(", ")
                ),
            ));
        }
    }
    Ok(())
}
