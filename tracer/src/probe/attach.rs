//! Loads the eBPF object and attaches what the plan says.

use std::time::Instant;

use aya::Ebpf;
use tracer_common::settings::{MAX_DEVICES, MAX_PORTS};

pub use crate::probe::attacher::detach;
use crate::{
    platform::Kernel,
    probe::{
        Plan,
        attacher::Attacher,
        error::AttachError,
        lacks::{Runstate, lacks},
        load::{load, types},
        plan,
    },
};
use tracer_analysis::recording::request::Request;
use tracer_analysis::{
    datapath::{Datapath, datapath, table::Intent},
    recording::bindings::{Planned, Unavailable},
};

/// Smallest and largest ring buffer, in bytes.
pub const RING_BYTES: std::ops::RangeInclusive<u32> = 4096..=1 << 30;

/// To attach every program of these datapaths, which are to see nothing.
pub(super) fn request_to_attach<'p>(datapaths: impl IntoIterator<Item = &'p Datapath>) -> Request {
    let names = datapaths.into_iter().map(|path| path.name.into());
    Request {
        datapaths: names.collect(),
        aggregate: false,
        outlier_ns: None,
        ring_bytes: 4096,
        in_flight: 4,
        devices: Vec::new(),
        bio_based: true,
        ports: Vec::new(),
        sample: 1,
        measure_cost: false,
    }
}

/// Programs in the kernel; dropping it detaches them.
#[derive(Debug)]
pub struct Attached {
    /// The loaded object.
    pub ebpf: Ebpf,
    /// What was attached.
    pub planned: Vec<Planned>,
    /// What could not be.
    pub unavailable: Vec<Unavailable>,
    /// Time from the start of loading to the last attachment, in nanoseconds.
    pub attach_ns: u64,
}

/// Loads and attaches.
///
/// # Errors
/// If a required probe cannot be bound or the kernel refuses. Nothing stays attached then.
pub fn attach(kernel: &Kernel, request: &Request) -> Result<Attached, AttachError> {
    let start = Instant::now();
    let datapaths = lookup(&request.datapaths)?;
    check_sizes(request)?;
    let mut plan = Plan::new(kernel, &datapaths, request.aggregate);
    if !request.bio_based {
        plan.choices.retain(|choice| {
            choice
                .candidates
                .iter()
                .all(|c| c.program != "blk_bio_complete")
        });
    }
    let btf = types()?;
    let layouts = plan::layouts(kernel);
    let mut ebpf = load(&btf, request, &layouts, Runstate::of(kernel))?;
    let mut attacher = Attacher::new(&mut ebpf, &btf);
    let (mut planned, mut unavailable) = (Vec::new(), Vec::new());
    // Ends of a request first: one whose start is seen then also ends.
    for choice in plan.choices.into_iter().rev() {
        let role = choice.otherwise.role.clone();
        match attacher.attach(choice, &format!("`{role}`")) {
            Ok(probe) => planned.push(probe),
            Err(missing) if missing.required => return Err(required(kernel, &datapaths, missing)),
            Err(missing) => unavailable.push(missing),
        }
    }
    planned.reverse();
    unavailable.reverse();
    unavailable.extend(lacks(kernel, &datapaths));
    let attach_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Ok(Attached {
        ebpf,
        planned,
        unavailable,
        attach_ns,
    })
}

/// The error of a required probe that has no binding.
fn required(kernel: &Kernel, datapaths: &[&Datapath], missing: Unavailable) -> AttachError {
    let needs = |path: &Datapath| {
        path.probes()
            .any(|probe| probe.role == missing.role && probe.intent == Intent::Required)
    };
    let names: Vec<&str> = datapaths
        .iter()
        .filter(|path| needs(path))
        .map(|path| path.name)
        .collect();
    AttachError::Required {
        kernel: kernel.release().into(),
        why: missing.why.join("; "),
        role: missing.role,
        datapaths: names.join(", "),
    }
}

fn lookup(names: &[String]) -> Result<Vec<&'static Datapath>, AttachError> {
    names
        .iter()
        .map(|name| datapath(name).ok_or_else(|| AttachError::NoDatapath(name.clone())))
        .collect()
}

fn check_sizes(request: &Request) -> Result<(), AttachError> {
    if !request.ring_bytes.is_power_of_two() || !RING_BYTES.contains(&request.ring_bytes) {
        return Err(AttachError::Size(format!(
            "probes.ring_buffer is {} bytes; it must be a power of two from {} to {}",
            request.ring_bytes,
            RING_BYTES.start(),
            RING_BYTES.end()
        )));
    }
    if !request.in_flight.is_power_of_two() || request.in_flight < 4 {
        return Err(AttachError::Size(format!(
            "probes.in_flight is {}; it must be a power of two from 4",
            request.in_flight
        )));
    }
    if request.ports.len() > MAX_PORTS {
        return Err(AttachError::Size(format!(
            "probes.ports names {} ports; at most {MAX_PORTS} can be followed at once",
            request.ports.len()
        )));
    }
    if request.devices.len() > MAX_DEVICES {
        return Err(AttachError::Devices(request.devices.len()));
    }
    Ok(())
}
