//! The task that waits for a request: woken, then running.

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::Array,
    programs::BtfTracePointContext,
};
use tracer_common::{
    point::{Kind, Point},
    record::flag,
};

use crate::core::{
    cpu, emit,
    kernel::{self, Object},
    member,
    slots::{self, Handle, Slot, state},
    steal,
};

const WAITERS: u32 = 16_384;
/// By thread id: the request that a woken task waited for.
#[map]
static WOKEN: Array<Handle> = Array::with_max_entries(WAITERS, 0);

const DISK_WAKING: usize = Kind::Disk.index_of(Point::SchedWaking);
const DISK_SWITCH: usize = Kind::Disk.index_of(Point::SchedSwitch);
const RX_WAKING: usize = Kind::NetRx.index_of(Point::SchedWaking);
const RX_SWITCH: usize = Kind::NetRx.index_of(Point::SchedSwitch);

#[inline(always)]
fn woken(tid: u32) -> Option<&'static mut Handle> {
    // SAFETY: the map outlives the program; a race of two wakers ends with one of them stored.
    unsafe {
        WOKEN
            .get_ptr_mut(tid & (WAITERS - 1))
            .map(|handle| &mut *handle)
    }
}

/// Whether the task that made a request has not gone to sleep: whoever ends the request has nobody to wake then. A task
/// on its way to sleep is told apart by its waking, unless it is the one that was interrupted here.
#[inline(always)]
pub fn is_awake(slot: &Slot) -> bool {
    let tid = slot.record.tid;
    // A flush is nobody's.
    if tid == 0 {
        return false;
    }
    if cpu::thread() == tid {
        return true;
    }
    // It may have ended meanwhile, and its memory be another's.
    member::TaskState.read_unknown(slot.owner) == Some(0)
        && member::TaskPid.read_unknown(slot.owner) == Some(tid)
}

#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    let Some(cpu) = cpu::this() else { return 0 };
    let handle = *cpu.ending();
    if handle == 0 {
        return 0;
    }
    let Some(slot) = slots::of(handle) else {
        return 0;
    };
    if slot.state != state::ENDING {
        return 0;
    }
    let task: Object = ctx.arg(0);
    let tid = member::TaskPid.read(task);
    let index = if slot.record.kind == Kind::Disk as u8 {
        // A block request's waiting task is the one that made it.
        if slot.record.tid != tid {
            return 0;
        }
        DISK_WAKING
    } else {
        slot.record.tid = tid;
        RX_WAKING
    };
    slot.record.at[index] = kernel::now();
    slot.record.flags &= !flag::READER_AWAKE;
    // It set out to sleep, but still has its CPU: it will go on without a switch.
    let on_cpu = member::TaskOnCpu.read(task);
    let on_rq = member::TaskOnRq.read(task);
    if on_cpu != 0 && on_rq != 0 {
        slot.record.flags |= flag::READER_AWAKE;
        return 0;
    }
    let Some(waiter) = woken(tid) else { return 0 };
    if *waiter != 0
        && *waiter != handle
        && let Some(other) = slots::of(*waiter)
        && other.state == state::WOKEN
    {
        // Another task has this entry: its request ends without the switch.
        emit::waited_for(other);
    }
    *waiter = handle;
    slot.state = state::WOKEN;
    *cpu.ending() = 0;
    0
}

#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    if let Some(cpu) = cpu::this() {
        steal::look(cpu, kernel::now);
    }
    let next: Object = ctx.arg(2);
    let tid = member::TaskPid.read(next);
    let Some(waiter) = woken(tid) else { return 0 };
    if *waiter == 0 {
        return 0;
    }
    let Some(slot) = slots::of(*waiter) else {
        return 0;
    };
    if slot.state != state::WOKEN {
        *waiter = 0;
        return 0;
    }
    if slot.record.tid != tid {
        return 0;
    }
    *waiter = 0;
    let now = kernel::now();
    if slot.record.kind == Kind::Disk as u8 {
        slot.record.at[DISK_SWITCH] = now;
    } else {
        slot.record.at[RX_SWITCH] = now;
    }
    emit::waited_for(slot);
    0
}
