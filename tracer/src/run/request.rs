//! From a scenario to what its agent is asked to trace.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use tracer_common::point::Kind;

use crate::{
    datapath::datapath,
    probe::Request,
    resource::{Resources, block_device},
    run::workload,
    scenario::{
        Scenario,
        types::{Mode, Workload},
    },
};

/// The block devices to follow: those named, else those that the workload uses.
pub(super) fn devices(
    scenario: &Scenario,
    resources: &Resources,
) -> anyhow::Result<Vec<block_device::BlockDevice>> {
    let root = Path::new("/");
    if !scenario
        .probes
        .datapaths
        .iter()
        .any(|path| path.starts_with("disk/"))
    {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    match &scenario.probes.devices {
        Some(names) if names.iter().any(|name| name == "all") => found = block_device::all(root),
        Some(names) => {
            for name in names {
                let path = resources.path(name)?;
                let serving = block_device::serving(&path, root).context("probes.devices")?;
                if serving.is_empty() {
                    bail!("probes.devices: no block device serves {}", path.display());
                }
                found.extend(serving);
            }
        }
        // The devices behind guests' virtual disks are not in the scenario.
        None if follows_backend(scenario) => found = block_device::all(root),
        None => {
            for load in std::iter::once(&scenario.workload).chain(&scenario.background) {
                for path in paths(load, resources) {
                    found.extend(block_device::serving(&path, root).context("workload.target")?);
                }
            }
            if found.is_empty() {
                found = block_device::all(root);
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn follows_backend(scenario: &Scenario) -> bool {
    let mut paths = scenario.probes.datapaths.iter().filter_map(|p| datapath(p));
    paths.any(|path| path.kind == Some(Kind::Blkback))
}

/// Paths that a load uses, as far as its scenario tells.
fn paths(load: &Workload, resources: &Resources) -> Vec<PathBuf> {
    let references = load.args.iter().filter_map(|arg| {
        let at = arg.find('@')?;
        (at == 0 || arg[..at].ends_with('=')).then(|| &arg[at..])
    });
    load.target
        .as_deref()
        .into_iter()
        .chain(references)
        .filter_map(|name| resources.path(name).ok())
        .collect()
}

/// What the agent is to trace.
pub(super) fn request(scenario: &Scenario, devices: &[block_device::BlockDevice]) -> Request {
    let probes = &scenario.probes;
    let ports = probes.ports.clone().unwrap_or_else(|| {
        std::iter::once(&scenario.workload)
            .filter_map(workload::port)
            .collect()
    });
    let power = |value: u32| value.checked_next_power_of_two().unwrap_or(1 << 31);
    // With more devices than the programs can tell apart, follow all.
    let named = if devices.len() > tracer_common::settings::MAX_DEVICES {
        &[][..]
    } else {
        devices
    };
    Request {
        datapaths: probes.datapaths.clone(),
        aggregate: probes.mode == Mode::Aggregate,
        outlier_ns: probes
            .outlier
            .map(|time| u64::try_from(time.0.as_nanos()).unwrap_or(u64::MAX)),
        ring_bytes: power(u32::try_from(probes.ring_buffer.0).unwrap_or(1 << 30)),
        in_flight: power(probes.in_flight),
        devices: named.iter().map(|device| device.dev).collect(),
        bio_based: devices.iter().any(|device| device.bio_based),
        ports,
        sample: probes.sample,
        measure_cost: probes.measure_cost,
    }
}
