//! Flushes: what the block layer makes of fsync, and of writes that must not linger in a disk's cache.
//!
//! Whoever flushes queues a bio without data, or a write with data that wants a flush before or after it.
//! The block layer holds these back and sends a request of its own, which has no bio: its record begins
//! when it is issued. Of those that wait for it and for nothing else, the first one told makes the record
//! its own, so that a flush is one record from queue to waking; the others have merged into it.

use tracer_common::point::{Kind, Point};

use crate::core::{
    cpu::{self, Cpu},
    emit,
    followed::device_index,
    kernel::{Object, key_of},
    member,
    operation::op,
    slots::{self, Handle, Slot, state},
};

const QUEUE: usize = Kind::Disk.index_of(Point::BlkQueue);
const REQUEUE: usize = Kind::Disk.index_of(Point::BlkRequeue);
const ISSUE: usize = Kind::Disk.index_of(Point::BlkIssue);
const PUSH: usize = Kind::Disk.index_of(Point::BlkfrontPush);

/// The queue of a request, as a number.
#[inline(always)]
fn queue_of(request: Object) -> u64 {
    key_of(member::RequestQueue.read(request))
}

/// Begins the record of a flush request of a followed disk.
#[inline(always)]
pub fn begin(request: Object) -> Option<(&'static mut Slot, Handle)> {
    let flags = member::RequestCmdFlags.read(request);
    let bio = member::RequestBio.read(request);
    // Histograms hold what is queued; nothing can be added to them afterwards.
    if (flags & op::MASK) as u8 != op::FLUSH || !bio.is_null() || emit::aggregates() {
        return None;
    }
    let queue = member::RequestQueue.read(request);
    let disk = member::QueueDisk.read(queue);
    let whole = member::DiskWhole.read(disk);
    let dev = member::BdevDev.read(whole);
    device_index(dev)?;
    let (slot, handle) = slots::claim(key_of(request), Kind::Disk)?;
    slot.owner = queue_of(request);
    let record = &mut slot.record;
    record.op = op::FLUSH;
    record.dev = dev;
    record.position = 0;
    record.bytes = 0;
    record.cpu = cpu::number();
    Some((slot, handle))
}

/// The flush that this CPU is ending, if it is one and nobody who waited for it has taken it over.
#[inline(always)]
pub fn ending(cpu: &mut Cpu) -> Option<&'static mut Slot> {
    let slot = slots::of(*cpu.ending())?;
    let is_flush = slot.state == state::ENDING
        && slot.record.kind == Kind::Disk as u8
        && slot.record.op == op::FLUSH
        && slot.record.at[QUEUE] == 0;
    is_flush.then_some(slot)
}

/// Whether a request that is complete was never issued itself, but waited for a flush.
#[inline(always)]
pub fn waited(slot: &Slot) -> bool {
    slot.record.op == op::FLUSH && slot.record.at[ISSUE] == 0 && !emit::aggregates()
}

/// Makes the record of the flush that is ending that of a request which waited for it. False if there is
/// no such flush.
#[inline(always)]
pub fn take_over(slot: &mut Slot, request: Object) -> bool {
    let Some(cpu) = cpu::this() else { return false };
    let Some(flush) = ending(cpu) else {
        return false;
    };
    let issued = flush.record.at[ISSUE];
    if flush.owner != queue_of(request) || issued < slot.record.at[QUEUE] {
        return false;
    }
    slot.record.at[REQUEUE] = flush.record.at[REQUEUE];
    slot.record.at[ISSUE] = issued;
    slot.record.at[PUSH] = flush.record.at[PUSH];
    slot.record.key = flush.record.key;
    slot.record.flags |= flush.record.flags;
    *cpu.ending() = 0;
    slots::free(flush);
    true
}
