//! Loads the eBPF object with what the run asks for and what this kernel is like.

use aya::{Btf, Ebpf, EbpfLoader};
use tracer_common::{
    member::{Layout, Member},
    point::Kind,
    settings::{MAX_DEVICES, MAX_PORTS, MAX_SEND_CALLS, mode},
};

use crate::probe::{AttachError, OBJECT, lacks::Runstate, refusal::refused};
use tracer_analysis::{datapath::datapath, recording::request::Request};

/// The system calls by which data reach a socket.
const SEND_CALLS: &[i64] = &[
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

/// The numbers of [`SEND_CALLS`]; behind them one that no call has.
fn send_calls() -> [u32; MAX_SEND_CALLS] {
    let mut numbers = [u32::MAX; MAX_SEND_CALLS];
    for (entry, number) in numbers.iter_mut().zip(SEND_CALLS) {
        *entry = u32::try_from(*number).unwrap_or(u32::MAX);
    }
    numbers
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
    let mut devices = [0u32; MAX_DEVICES];
    devices[..request.devices.len()].copy_from_slice(&request.devices);
    let device_count = request.devices.len() as u64;
    let bio_based = u64::from(request.bio_based);
    let mode = u64::from(if request.aggregate {
        mode::AGGREGATE
    } else {
        mode::SPANS
    });
    let outlier_ns = request.outlier_ns.unwrap_or(u64::MAX);
    let slot_mask = u64::from(request.in_flight - 1);
    let mut ports = [0u16; MAX_PORTS];
    ports[..request.ports.len()].copy_from_slice(&request.ports);
    let port_count = request.ports.len() as u64;
    let sample = u64::from(request.sample.max(1));
    let has = |kinds: &[Kind]| {
        let mut paths = request.datapaths.iter().filter_map(|name| datapath(name));
        u64::from(paths.any(|path| path.kind.is_some_and(|kind| kinds.contains(&kind))))
    };
    let receives = has(&[Kind::NetRx, Kind::NetForward]);
    let forwards = has(&[Kind::NetForward]);
    let serves = has(&[Kind::Blkback]);
    let Runstate {
        variable,
        per_cpu_offset,
    } = runstate.unwrap_or_default();
    let send_calls = send_calls();
    let send_call_count = SEND_CALLS.len() as u64;
    let mut loader = EbpfLoader::new();
    for (name, words) in &layouts {
        loader.override_global(name, &words[..], true);
    }
    loader
        .btf(Some(btf))
        .override_global("DEVICES", &devices[..], true)
        .override_global("DEVICE_COUNT", &device_count, true)
        .override_global("BIO_BASED", &bio_based, true)
        .override_global("MODE", &mode, true)
        .override_global("OUTLIER_NS", &outlier_ns, true)
        .override_global("SLOT_MASK", &slot_mask, true)
        .override_global("PORTS", &ports[..], false)
        .override_global("PORT_COUNT", &port_count, false)
        .override_global("SAMPLE", &sample, false)
        .override_global("RECEIVES", &receives, false)
        .override_global("FORWARDS", &forwards, false)
        .override_global("SERVES", &serves, false)
        .override_global("RUNSTATE", &variable, false)
        .override_global("PER_CPU_OFFSET", &per_cpu_offset, false)
        .override_global("SEND_CALLS", &send_calls[..], false)
        .override_global("SEND_CALL_COUNT", &send_call_count, false)
        .map_max_entries("RECORDS", request.ring_bytes)
        .map_max_entries("SLOTS", request.in_flight)
        .load(OBJECT)
        .map_err(|error| AttachError::Load(refused(&error)))
}

#[cfg(test)]
mod tests;
