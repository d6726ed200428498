//! Polls of network drivers, and what scheduled each.
//!
//! The soft interrupt NET_RX polls every driver that was scheduled, so the interrupt that raised it need not be the
//! poll's: others may come before it runs, and since Linux 6.4 (`in_net_rx_action` in net/core/dev.c) one that comes
//! while it runs, or while it waits to go on, raises none of its own. And a driver that finds more to do after it has
//! said that it is done (netback) schedules itself. So each schedule is kept until its poll: there is one for each.

use aya_ebpf::{
    macros::{fentry, map},
    maps::Array,
    programs::FEntryContext,
};

use crate::{
    cpu::{self, Cpu, Raised},
    kernel::{Object, key_of, now},
};

/// What scheduled a poll.
#[repr(C)]
#[derive(Clone, Copy)]
struct Scheduled {
    /// The driver's `struct napi_struct`; 0: nothing is kept here.
    key: u64,
    /// Entry of the interrupt's handler; without an interrupt the time of the schedule.
    at: u64,
    /// Of an interrupt.
    upcall_at: u64,
    irq: u32,
    /// 1: an interrupt; 0: none.
    count: u32,
}

/// Entries; a power of two. Of two drivers that fall on one entry the second has it: the first's poll has no interrupt.
const PLACES: u32 = 4096;

/// An array, since a look-up in one is inlined: a hash map's calls would be most of what this costs.
#[map]
static SCHEDULED: Array<Scheduled> = Array::with_max_entries(PLACES, 0);

#[inline(always)]
fn place(key: u64) -> Option<&'static mut Scheduled> {
    let hash = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32;
    // SAFETY: the map outlives the program. Who schedules a driver's poll owns it up to that poll; two drivers on one
    // entry can at worst have each other's interrupt.
    unsafe {
        SCHEDULED
            .get_ptr_mut(hash & (PLACES - 1))
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
    if cpu.irq_at != 0 {
        place.at = cpu.irq_at;
        place.upcall_at = cpu.upcall_at;
        place.irq = cpu.irq;
        place.count = 1;
    } else {
        place.at = now();
        place.count = 0;
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
    let Some(cpu) = cpu::this() else { return 0 };
    cpu.poll_at = now();
    let key = key_of(ctx.arg(0));
    if let Some(by) = place(key)
        && by.key == key
    {
        by.key = 0;
        cpu.poll_cause.at = by.at;
        cpu.poll_cause.upcall_at = by.upcall_at;
        cpu.poll_cause.irq = by.irq;
        cpu.poll_cause.count = by.count;
    } else if cpu.sees_schedules != 0 {
        // It goes on from where its budget ended, or is of a CPU's backlog: no interrupt is known to be its own.
        cpu.poll_cause.at = 0;
        cpu.poll_cause.count = 0;
    } else {
        cpu.poll_cause.at = cpu.cause.at;
        cpu.poll_cause.upcall_at = cpu.cause.upcall_at;
        cpu.poll_cause.irq = cpu.cause.irq;
        cpu.poll_cause.count = cpu.cause.count;
    }
    0
}
