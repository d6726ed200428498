//! xen-blkback: a guest's discard.
//!
//! It has no `pending_req`: blkback's thread discards, waits, and answers. The thread tells whose it is,
//! until the response names the guest's id.

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use tracer_common::{
    point::Kind,
    record::{Record, ring_id},
};

use crate::{
    core::{
        cpu,
        kernel::now,
        member,
        operation::op,
        slots::{self, Slot},
    },
    xen::ring::{self, Ring},
};

/// `BLKIF_OP_DISCARD` (xen/interface/io/blkif.h).
pub const BLKIF_OP_DISCARD: u16 = 5;

/// The ring that the current kernel thread serves, if it is one of blkback's.
#[inline(always)]
fn ring_of_thread() -> Option<(u64, &'static mut Ring)> {
    let task = cpu::task();
    let kthread = member::TaskKthread.read_unknown(task)?;
    let address = member::KthreadData.read_unknown(kthread)?;
    Some((address, ring::of(address)?))
}

/// A thread's key among the slots: others are even, or those of requests with large ids.
#[inline(always)]
const fn key(tid: u32) -> u64 {
    (tid as u64) << 1 | 1
}

/// The discard that a thread waits for.
#[inline(always)]
fn of_thread(tid: u32) -> Option<&'static mut Slot> {
    let (slot, _) = slots::find(key(tid))?;
    let same = slot.record.kind == Kind::Blkback as u8
        && slot.record.op == op::DISCARD
        && slot.record.tid == tid;
    same.then_some(slot)
}

/// `blkdev_issue_discard(bdev, sector, nr_sects, ..)`, for a guest if blkback's thread calls it.
#[fentry(function = "blkdev_issue_discard")]
pub fn blkback_discard(ctx: FEntryContext) -> i32 {
    let (sector, sectors): (u64, u64) = (ctx.arg(1), ctx.arg(2));
    let Some((address, ring)) = ring_of_thread() else {
        return 0;
    };
    let Some(cpu) = cpu::this() else { return 0 };
    let tid = cpu::thread();
    let Some((slot, _)) = slots::claim(key(tid), Kind::Blkback) else {
        return 0;
    };
    slot.owner = address;
    let record = &mut slot.record;
    let (disk, ring_number) = ring::disk(address);
    record.op = op::DISCARD;
    record.dev = disk;
    record.key = ring_id::pack(ring_number, 0);
    record.position = sector;
    record.bytes = (sectors << 9) as u32;
    record.tid = tid;
    record.cpu = cpu::number();
    ring.consume_at = now();
    ring.run_at = cpu.switched_at;
    ring::begin(slot, ring);
    0
}

/// A bio that discards has ended in Dom0's block layer: the last one that the thread made counts.
#[inline(always)]
pub fn complete(dom0: &Record) {
    if let Some(slot) = of_thread(dom0.tid) {
        ring::take_dom0(slot, dom0);
    }
}

/// The discard that is answered now, as the request `id` of the ring.
#[inline(always)]
pub fn answered(ring: u64, id: u64) -> Option<&'static mut Slot> {
    let slot = of_thread(cpu::thread())?;
    if slot.owner != ring {
        return None;
    }
    slot.record.key |= ring_id::pack(0, id);
    Some(slot)
}
