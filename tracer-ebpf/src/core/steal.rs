//! Time that Xen gave a virtual CPU's physical CPU to others while the virtual one wanted to run.
//!
//! Xen keeps it for each virtual CPU in a `struct vcpu_runstate_info` that the kernel has registered
//! (xen/include/public/vcpu.h); Linux itself makes its steal time of it. Nothing tells a domain that it did
//! not run, so the programs that stamp look whether it grew since the last look on their CPU.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use tracer_common::{
    counter::Counter,
    point::{Kind, Point},
    record::Record,
};

use crate::core::{
    counters::count_by,
    cpu::{self, Cpu},
    emit, member,
    settings::setting,
};

/// Shorter times are only counted: each wake-up of an idle virtual CPU takes Xen some microseconds.
const LEAST_NS: u64 = 50_000;

const OFF: usize = Kind::Steal.index_of(Point::VcpuOff);
const ON: usize = Kind::Steal.index_of(Point::VcpuOn);

#[inline(always)]
fn number(address: u64) -> Option<u64> {
    // SAFETY: the helper reads from any address, or fails.
    unsafe { bpf_probe_read_kernel(address as *const u64) }.ok()
}

/// Nanoseconds in each of `enum` `RUNSTATE_running`, `_runnable`, `_blocked`, `_offline`.
#[inline(always)]
fn times(cpu: &mut Cpu) -> Option<[u64; 4]> {
    let time = member::RunstateTime.get()?;
    if cpu.runstate == 0 {
        let this = u64::from(cpu::number());
        let base = number(setting!(per_cpu_offset) + 8 * this)?;
        cpu.runstate = base.wrapping_add(setting!(runstate));
    }
    time.read_unknown(cpu.runstate)
}

/// Looks whether this CPU has just come back; it has run since, up to `now`, which is asked for only then.
#[inline(always)]
pub fn look(cpu: &mut Cpu, now: impl FnOnce() -> u64) {
    if setting!(runstate) == 0 {
        return;
    }
    let Some([_, runnable, _, offline]) = times(cpu) else {
        return;
    };
    let stolen = runnable.wrapping_add(offline);
    let before = cpu.stolen;
    // An interrupt between has looked, too, and seen more.
    if stolen <= before {
        return;
    }
    cpu.stolen = stolen;
    let grown = stolen - before;
    if before == 0 {
        return;
    }
    let now = now();
    if grown > now {
        return;
    }
    count_by(Counter::StolenNs, grown);
    if grown >= LEAST_NS {
        report(now, grown);
    }
}

#[inline(always)]
fn report(now: u64, grown: u64) {
    let mut record = Record::EMPTY;
    record.kind = Kind::Steal as u8;
    record.cpu = cpu::number();
    record.cpu_end = record.cpu;
    record.at[OFF] = now - grown;
    record.at[ON] = now;
    emit::steal(&record);
}
