//! xen-blkfront: a guest's request on its way to the ring.
//!
//! `blkif_queue_rq` issues the request, takes an id for it, fills in the ring and, unless more requests
//! follow, tells the backend; from the id on it holds a lock with interrupts off.

use aya_ebpf::{
    macros::{fentry, kprobe, kretprobe},
    programs::{FEntryContext, ProbeContext, RetProbeContext},
};
use tracer_common::{
    point::{Kind, Point},
    record::{flag, ring_id},
};

use crate::core::{
    cpu::{self, Cpu},
    kernel::now,
    member,
    slots::{self, Slot, state},
};

const ISSUE: usize = Kind::Disk.index_of(Point::BlkIssue);
const PUSH: usize = Kind::Disk.index_of(Point::BlkfrontPush);
const COMPLETE: usize = Kind::Disk.index_of(Point::BlkComplete);

/// The request that this CPU has issued last, if it is still on its way: the answer may have come
/// already, and the slot be another request's.
#[inline(always)]
fn issued(cpu: &Cpu) -> Option<&'static mut Slot> {
    let slot = slots::of(cpu.issued)?;
    let same = slot.state == state::FLIGHT
        && slot.record.at[ISSUE] == cpu.issued_at
        && slot.record.at[COMPLETE] == 0;
    same.then_some(slot)
}

/// `blkif_queue_rq(hctx, ..)`: each hardware queue has a ring of its own.
#[kprobe]
pub fn blkfront_queue(ctx: ProbeContext) -> u32 {
    let (Some(cpu), Some(hctx)) = (cpu::this(), ctx.arg::<u64>(0)) else {
        return 0;
    };
    cpu.queue = member::HctxQueueNum.read_unknown(hctx).unwrap_or(0);
    cpu.issued = 0;
    0
}

/// `get_id_from_freelist(ring)` returns the request's id on the ring.
#[kretprobe]
pub fn blkfront_id(ctx: RetProbeContext) -> u32 {
    if let Some(cpu) = cpu::this()
        && let Some(slot) = issued(cpu)
    {
        slot.record.key = ring_id::pack(cpu.queue as u16, ctx.ret::<u64>());
        slot.record.flags |= flag::RING_ID;
    }
    0
}

/// `notify_remote_via_irq`: the request has just become visible to the backend, which is told now.
#[fentry(function = "notify_remote_via_irq")]
pub fn blkfront_notify(_ctx: FEntryContext) -> i32 {
    if let Some(cpu) = cpu::this()
        && let Some(slot) = issued(cpu)
        && slot.record.flags & flag::RING_ID != 0
    {
        slot.record.at[PUSH] = now();
    }
    0
}

/// `blkif_queue_rq` returns: the request is on the ring, if its backend did not have to be told.
#[kretprobe]
pub fn blkfront_pushed(_ctx: RetProbeContext) -> u32 {
    let Some(cpu) = cpu::this() else { return 0 };
    if let Some(slot) = issued(cpu)
        && slot.record.at[PUSH] == 0
    {
        slot.record.at[PUSH] = now();
    }
    cpu.issued = 0;
    0
}
