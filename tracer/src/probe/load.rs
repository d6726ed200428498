//! Loads the eBPF object with what the run asks for and what this kernel is like.

use aya::{Btf, Ebpf, EbpfLoader};
use tracer_common::{
    member::{Layout, Member},
    point::Kind,
    settings::{MAX_SEND_CALLS, Settings},
};

use crate::probe::{AttachError, OBJECT, lacks::Runstate, refusal::refused};
use tracer_analysis::{datapath::datapath, recording::request::Request};

/// The system calls by which data reach a socket.
const SEND_CALLS: [i64; MAX_SEND_CALLS] = [
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_io_uring_enter,
];

/// The kernel's types, as aya reads them.
pub(super) fn types() -> Result<Btf, AttachError> {
    Btf::from_sys_fs().map_err(|error| AttachError::Load(refused(&error)))
}

/// What the programs are told of the run and of the kernel.
fn settings(request: &Request, runstate: Option<Runstate>) -> Settings {
    let has = |kinds: &[Kind]| {
        let mut paths = request.datapaths.iter().filter_map(|name| datapath(name));
        u64::from(paths.any(|path| path.kind.is_some_and(|kind| kinds.contains(&kind))))
    };
    let runstate = runstate.unwrap_or_default();
    let mut settings = Settings {
        aggregates: u64::from(request.aggregate),
        outlier_ns: request.outlier_ns.unwrap_or(u64::MAX),
        slot_mask: u64::from(request.in_flight - 1),
        bio_based: u64::from(request.bio_based),
        device_count: request.devices.len() as u64,
        port_count: request.ports.len() as u64,
        sample: u64::from(request.sample.max(1)),
        receives: has(&[Kind::NetRx, Kind::NetForward]),
        forwards: has(&[Kind::NetForward]),
        serves: has(&[Kind::Blkback]),
        runstate: runstate.variable,
        per_cpu_offset: runstate.per_cpu_offset,
        ..Settings::UNSET
    };
    settings.devices[..request.devices.len()].copy_from_slice(&request.devices);
    settings.ports[..request.ports.len()].copy_from_slice(&request.ports);
    for (entry, number) in settings.send_calls.iter_mut().zip(SEND_CALLS) {
        *entry = u32::try_from(number).unwrap_or(u32::MAX);
    }
    settings
}

/// Loads the object, whose programs are to read members as the layouts say.
pub(super) fn load(
    btf: &Btf,
    request: &Request,
    layouts: &[(Member, Layout)],
    runstate: Option<Runstate>,
) -> Result<Ebpf, AttachError> {
    let layouts: Vec<_> = layouts
        .iter()
        .map(|(member, layout)| (member.name(), layout.words()))
        .collect();
    let settings = settings(request, runstate);
    let mut loader = EbpfLoader::new();
    for (name, words) in &layouts {
        loader.override_global(name, &words[..], true);
    }
    loader
        .btf(Some(btf))
        .override_global("SETTINGS", &settings, true)
        .map_max_entries("RECORDS", request.ring_bytes)
        .map_max_entries("SLOTS", request.in_flight)
        .load(OBJECT)
        .map_err(|error| AttachError::Load(refused(&error)))
}

#[cfg(test)]
mod tests;
