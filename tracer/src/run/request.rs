//! From a scenario to what its agent is asked to trace.

use std::path::PathBuf;

use tracer_common::point::Kind;

use crate::{
    resource::{Resources, block_device::BlockQuery},
    run::workload,
};
use tracer_analysis::{
    datapath::{DATAPATHS, datapath},
    recording::{device::BlockDevice, request::Request},
    scenario::{
        Scenario,
        types::{Mode, Workload},
    },
};

/// What is traced in a domain of this role: what the scenario says of the domain, else what it traces at
/// all. Where there are several domains, Dom0 has the backends' part of it and guests the rest.
pub(super) fn datapaths(scenario: &Scenario, domain: &str, xen_role: &str) -> Vec<String> {
    let own = scenario.domain.iter().find(|other| other.name == domain);
    if let Some(own) = own.and_then(|own| own.datapaths.as_ref()) {
        return own.clone();
    }
    let asked = &scenario.probes.datapaths;
    if scenario.domain.len() == 1 {
        return asked.clone();
    }
    let is_backend = |name: &String| {
        let mut backends = DATAPATHS.iter().filter_map(|path| path.backend);
        backends.any(|backend| backend.datapath == name)
    };
    let mut chosen: Vec<String> = if xen_role == "dom0" {
        let backends = asked
            .iter()
            .filter_map(|name| Some(datapath(name)?.backend?.datapath));
        let own = asked.iter().filter(|name| is_backend(name));
        backends.map(Into::into).chain(own.cloned()).collect()
    } else {
        asked
            .iter()
            .filter(|name| !is_backend(name))
            .cloned()
            .collect()
    };
    chosen.sort();
    chosen.dedup();
    chosen
}

/// The block devices to follow in a domain: those named, else those that its loads use.
pub(super) fn devices(
    scenario: &Scenario,
    domain: &str,
    datapaths: &[String],
    resources: &Resources,
) -> anyhow::Result<BlockQuery> {
    if !datapaths.iter().any(|path| path.starts_with("disk/")) {
        return Ok(BlockQuery::Nothing);
    }
    // The devices behind guests' virtual disks are not in the scenario.
    let follows_backend = datapaths
        .iter()
        .filter_map(|name| datapath(name))
        .any(|path| path.kind == Some(Kind::Blkback));
    match &scenario.probes.devices {
        Some(names) if names.iter().any(|name| name == "all") => Ok(BlockQuery::All),
        _ if follows_backend => Ok(BlockQuery::All),
        Some(names) => {
            let paths = names.iter().map(|name| resources.path(name));
            Ok(BlockQuery::Named(paths.collect::<anyhow::Result<_>>()?))
        }
        None => {
            let loads = std::iter::once(&scenario.workload).chain(&scenario.background);
            let here = loads.filter(|load| workload::domain(scenario, load) == domain);
            Ok(BlockQuery::Used(
                here.flat_map(|load| paths(load, resources)).collect(),
            ))
        }
    }
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
pub(super) fn request(
    scenario: &Scenario,
    datapaths: Vec<String>,
    devices: &[BlockDevice],
) -> Request {
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
        datapaths,
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
