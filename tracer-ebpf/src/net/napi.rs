//! Polls of network drivers, and what scheduled each.
//!
//! The soft interrupt NET_RX polls every driver that was scheduled, so the interrupt that raised it need not be the
//! poll's: others may come before it runs, and since Linux 6.4 (`in_net_rx_action` in net/core/dev.c) one that comes
//! while it runs, or while it waits to go on, raises none of its own. And a driver that finds more to do after it has
//! said that it is done (netback) schedules itself. So each schedule is kept until its poll: there is one for each.

use aya_ebpf::{
    macros::{fentry, kprobe, map},
    maps::Array,
    programs::{FEntryContext, ProbeContext},
};

use crate::core::{
    cpu::{self, Cpu, Raised},
    kernel::{Object, hash, key_of, key_of_unknown, now},
};

/// What scheduled a poll.
#[repr(C)]
#[derive(Clone, Copy)]
struct Scheduled {
    /// The driver's `struct napi_struct`; 0: nothing is kept here.
    key: u64,
    /// The interrupt; without one its count is 0 and its time that of the schedule.
    by: Raised,
}

/// Entries; a power of two. Of two drivers that fall on one entry the second has it: the first's poll has no interrupt.
const PLACES: u32 = 4096;

/// An array, since a look-up in one is inlined: a hash map's calls would be most of what this costs.
#[map]
static SCHEDULED: Array<Scheduled> = Array::with_max_entries(PLACES, 0);

#[inline(always)]
fn place(key: u64) -> Option<&'static mut Scheduled> {
    // SAFETY: the map outlives the program. Who schedules a driver's poll owns it up to that poll; two drivers on one
    // entry can at worst have each other's interrupt.
    unsafe {
        SCHEDULED
            .get_ptr_mut(hash(key) & (PLACES - 1))
            .map(|place| &mut *place)
    }
}

impl Cpu {
    /// The interrupt behind what the soft interrupt that runs is doing.
    #[inline(always)]
    pub fn cause_now(&self) -> &Raised {
        if self.poll_at >= self.softirq_at {
            &self.poll_cause
        } else {
            &self.cause
        }
    }
}

#[inline(always)]
fn scheduled(napi: Object) -> i32 {
    let Some(cpu) = cpu::this() else { return 0 };
    cpu.sees_schedules = 1;
    let key = key_of(napi);
    let Some(place) = place(key) else { return 0 };
    place.key = key;
    if cpu.serves_device() {
        let by = &mut place.by;
        by.set(cpu.irq_at, cpu.irq_action, cpu.irq, cpu.upcall_at);
    } else {
        place.by.at = now();
        place.by.count = 0;
    }
    0
}

#[fentry(function = "__napi_schedule")]
pub fn napi_schedule(ctx: FEntryContext) -> i32 {
    scheduled(ctx.arg(0))
}

/// The same of drivers that know interrupts to be off.
#[fentry(function = "__napi_schedule_irqoff")]
pub fn napi_schedule_irqoff(ctx: FEntryContext) -> i32 {
    scheduled(ctx.arg(0))
}

#[fentry(function = "__napi_poll")]
pub fn napi_poll(ctx: FEntryContext) -> i32 {
    if let Some(cpu) = cpu::this() {
        polls(cpu, key_of(ctx.arg(0)));
    }
    0
}

/// The same where the compiler has made a copy of the function, which has another name.
#[kprobe]
pub fn napi_poll_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(cpu) = cpu::this()
        && let Some(napi) = ctx.arg::<u64>(0)
    {
        let key = key_of_unknown(napi, &mut cpu.key_base);
        polls(cpu, key);
    }
    0
}

/// A driver's poll starts.
#[inline(always)]
fn polls(cpu: &mut Cpu, key: u64) {
    cpu.poll_at = now();
    if let Some(scheduled) = place(key)
        && scheduled.key == key
    {
        scheduled.key = 0;
        cpu.poll_cause.copy_from(&scheduled.by);
    } else if cpu.sees_schedules != 0 {
        // It goes on from where its budget ended, or is of a CPU's backlog: no interrupt is known to be its own.
        cpu.poll_cause.at = 0;
        cpu.poll_cause.count = 0;
    } else {
        cpu.poll_cause.copy_from(&cpu.cause);
    }
}
