//! Loads the eBPF object and attaches what the plan says.

use std::time::Instant;

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{BtfTracePoint, FEntry, FExit, KProbe, Program, ProgramError},
};
use serde::{Deserialize, Serialize};
use tracer_common::{
    member::Member,
    point::{Kind, Point},
    settings::{MAX_DEVICES, MAX_PORTS, MAX_SEND_CALLS, mode},
};

use crate::{
    datapath::{DATAPATHS, Datapath, datapath},
    platform::{Kernel, symbols},
    probe::{OBJECT, Plan, Planned, Unavailable, plan, plan::Choice},
};

/// Smallest and largest ring buffer, in bytes.
pub const RING_BYTES: std::ops::RangeInclusive<u32> = 4096..=1 << 30;

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

/// What the loader asks an agent to attach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Names of datapaths.
    pub datapaths: Vec<String>,
    /// Histograms in the kernel instead of a record a request.
    pub aggregate: bool,
    /// In aggregate mode: requests from this time up are emitted, too, in nanoseconds.
    pub outlier_ns: Option<u64>,
    /// Size of the ring buffer in bytes; a power of two from 4096.
    pub ring_bytes: u32,
    /// Requests in flight that can be followed; a power of two.
    pub in_flight: u32,
    /// Block devices to follow (kernel-internal `dev_t`); none: all.
    pub devices: Vec<u32>,
    /// Whether one of the devices is bio-based.
    pub bio_based: bool,
    /// TCP and UDP ports to follow; none: all.
    pub ports: Vec<u16>,
    /// Follow one in so many packets.
    pub sample: u32,
    /// Whether the kernel times the programs.
    pub measure_cost: bool,
}

/// Why nothing was attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The scenario names a datapath that does not exist.
    #[error("there is no datapath {0}; known: {known}", known = names())]
    NoDatapath(String),
    /// A datapath's required probe has no binding.
    #[error(
        "kernel {kernel}: {role} cannot be traced: {why}; this costs the datapaths {datapaths}"
    )]
    Required {
        /// The kernel's release.
        kernel: String,
        /// The probe.
        role: String,
        /// The reasons.
        why: String,
        /// What was asked for.
        datapaths: String,
    },
    /// A size that cannot be.
    #[error("{0}")]
    Size(String),
    /// More devices than fit.
    #[error("{0} block devices are asked for; at most {MAX_DEVICES} can be followed at once")]
    Devices(usize),
    /// The kernel refused the object or one of its maps.
    #[error("the kernel refused tracer's eBPF object: {0}{hint}", hint = hint(.0))]
    Load(String),
}

fn names() -> String {
    DATAPATHS
        .iter()
        .map(|path| path.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What to do about a refusal.
fn hint(reason: &str) -> &'static str {
    let reason = reason.to_lowercase();
    if reason.contains("eperm")
        || reason.contains("operation not permitted")
        || reason.contains("eacces")
    {
        " (run as root, or with CAP_BPF and CAP_PERFMON; a locked-down kernel refuses all)"
    } else if reason.contains("enomem") || reason.contains("cannot allocate") {
        " (not enough memory: ask for a smaller probes.ring_buffer or probes.in_flight)"
    } else {
        ""
    }
}

/// What the kernel's verifier said last: the line that tells why, without the hundreds before it.
fn brief(text: &str) -> String {
    let Some((before, log)) = text.split_once("Verifier output:") else {
        return text.into();
    };
    let noise = ["verification time", "stack depth", "processed ", ":"];
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !noise.iter().any(|start| line.starts_with(start)))
        .collect();
    let last = lines[lines.len().saturating_sub(2)..].join("; ");
    tracing::debug!("verifier output: {log}");
    format!("{before}the verifier said: {last}")
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    brief(&text)
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
    let runstate = runstate(kernel);
    let btf = types()?;
    let mut ebpf = load(kernel, &btf, request, runstate)?;
    let mut planned: Vec<Planned> = Vec::new();
    let mut unavailable = Vec::new();
    // Ends of a request first: one whose start is seen then also ends.
    for choice in plan.choices.into_iter().rev() {
        match attach_choice(&mut ebpf, choice, &planned, &btf) {
            Ok(probe) => planned.push(probe),
            Err(missing) if missing.required => {
                return Err(AttachError::Required {
                    kernel: kernel.release().into(),
                    role: missing.role,
                    why: missing.why.join("; "),
                    datapaths: request.datapaths.join(", "),
                });
            }
            Err(missing) => unavailable.push(missing),
        }
    }
    planned.reverse();
    unavailable.reverse();
    if kernel.is_xen() && runstate.is_none() {
        unavailable.push(no_runstate());
    }
    let attach_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Ok(Attached {
        ebpf,
        planned,
        unavailable,
        attach_ns,
    })
}

/// Attaches the first binding that the kernel takes; two probes may share one.
pub(super) fn attach_choice(
    ebpf: &mut Ebpf,
    choice: Choice,
    attached: &[Planned],
    btf: &Btf,
) -> Result<Planned, Unavailable> {
    let mut missing = choice.otherwise;
    for candidate in choice.candidates {
        if attached
            .iter()
            .any(|other| other.program == candidate.program)
        {
            return Ok(candidate);
        }
        match attach_one(ebpf, &candidate, btf) {
            Ok(()) => return Ok(candidate),
            Err(reason) => {
                missing.why.push(format!(
                    "{} {}: {reason}",
                    candidate.binding, candidate.symbol
                ));
            }
        }
    }
    missing.why = missing
        .why
        .into_iter()
        .map(|why| format!("{why}{}", hint(&why)))
        .collect();
    Err(missing)
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

/// The kernel's types, as aya reads them.
pub(super) fn types() -> Result<Btf, AttachError> {
    Btf::from_sys_fs().map_err(|error| AttachError::Load(chain(&error)))
}

/// Loads the object; `runstate` as [`runstate`] has found it.
pub(super) fn load(
    kernel: &Kernel,
    btf: &Btf,
    request: &Request,
    runstate: Option<(u64, u64)>,
) -> Result<Ebpf, AttachError> {
    let offsets = plan::offsets(kernel);
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
    let (runstate, per_cpu_offset) = runstate.unwrap_or((0, 0));
    let mut send_calls = [u32::MAX; MAX_SEND_CALLS];
    for (entry, number) in send_calls.iter_mut().zip(SEND_CALLS) {
        *entry = u32::try_from(*number).unwrap_or(u32::MAX);
    }
    let send_call_count = SEND_CALLS.len() as u64;
    EbpfLoader::new()
        .btf(Some(btf))
        .override_global("OFFSETS", &offsets[..], true)
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
        .override_global("RUNSTATE", &runstate, false)
        .override_global("PER_CPU_OFFSET", &per_cpu_offset, false)
        .override_global("SEND_CALLS", &send_calls[..], false)
        .override_global("SEND_CALL_COUNT", &send_call_count, false)
        .map_max_entries("RECORDS", request.ring_bytes)
        .map_max_entries("SLOTS", request.in_flight)
        .load(OBJECT)
        .map_err(|error| AttachError::Load(chain(&error)))
}

/// Where a domain of Xen finds what became of its virtual CPUs' time: the addresses of `xen_runstate`
/// (drivers/xen/time.c) and of the array by which per-CPU variables are found.
fn runstate(kernel: &Kernel) -> Option<(u64, u64)> {
    if !kernel.is_xen() || kernel.offset_of(Member::RunstateTime).is_err() {
        return None;
    }
    match symbols::addresses(kernel.root(), ["xen_runstate", "__per_cpu_offset"]) {
        [Some(runstate), Some(offsets)] => Some((runstate, offsets)),
        _ => None,
    }
}

/// What a reader misses who cannot be told when virtual CPUs did not run.
fn no_runstate() -> Unavailable {
    Unavailable {
        role: "time that Xen gave to others".into(),
        point: Some(Point::VcpuOn.name().into()),
        required: false,
        why: vec![
            "/proc/kallsyms does not tell where xen_runstate is (kernel.kptr_restrict is 2, or no CONFIG_KALLSYMS_ALL)"
                .into(),
        ],
    }
}

fn attach_one(ebpf: &mut Ebpf, probe: &Planned, btf: &Btf) -> Result<(), String> {
    let program = ebpf
        .program_mut(&probe.program)
        .ok_or_else(|| "not in the eBPF object".to_owned())?;
    let result: Result<(), ProgramError> = match program {
        Program::BtfTracePoint(program) => tracepoint(program, &probe.symbol, btf),
        Program::FEntry(program) => fentry(program, &probe.symbol, btf),
        Program::FExit(program) => fexit(program, &probe.symbol, btf),
        Program::KProbe(program) => kprobe(program, &probe.symbol),
        _ => return Err("of a type that the loader does not attach".into()),
    };
    result.map_err(|error| chain(&error))
}

fn tracepoint(program: &mut BtfTracePoint, symbol: &str, btf: &Btf) -> Result<(), ProgramError> {
    program.load(symbol, btf)?;
    program.attach().map(drop)
}

fn fentry(program: &mut FEntry, symbol: &str, btf: &Btf) -> Result<(), ProgramError> {
    program.load(symbol, btf)?;
    program.attach().map(drop)
}

fn fexit(program: &mut FExit, symbol: &str, btf: &Btf) -> Result<(), ProgramError> {
    program.load(symbol, btf)?;
    program.attach().map(drop)
}

fn kprobe(program: &mut KProbe, symbol: &str) -> Result<(), ProgramError> {
    program.load()?;
    program.attach(symbol, 0).map(drop)
}

/// Detaches every program; the maps stay readable.
pub fn detach(ebpf: &mut Ebpf) {
    for (_, program) in ebpf.programs_mut() {
        // One that was never loaded cannot be unloaded; that is no failure.
        let _ = match program {
            Program::BtfTracePoint(program) => program.unload(),
            Program::FEntry(program) => program.unload(),
            Program::FExit(program) => program.unload(),
            Program::KProbe(program) => program.unload(),
            _ => Ok(()),
        };
    }
}
