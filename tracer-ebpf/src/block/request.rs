//! The block layer: queue -> (merge, split) -> getrq -> insert -> issue -> complete.
//!
//! A slot is found by the address of a request's first bio: the same from the moment the bio is
//! queued until it completes, so nothing has to be re-keyed when the request is made.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, map},
    maps::HashMap,
    programs::{BtfTracePointContext, FEntryContext},
};
use tracer_common::{
    counter::Counter,
    point::{Kind, Point},
    record::{Record, flag},
};

use crate::{
    block::flush,
    core::{
        counters::count,
        cpu::{self, Cpu, Level, softirq},
        emit,
        followed::device_index,
        kernel::{Object, key_of, now},
        member,
        operation::{op, operation},
        preempt,
        settings::setting,
        slots::{self, Handle, Slot, state},
        steal,
    },
    sched,
    xen::discard,
};

/// Requests that completed in part, by [`key_of`] the request: their first bio has changed.
#[map]
static PARTIAL: HashMap<u64, Handle> = HashMap::with_max_entries(1024, 0);

const QUEUE: usize = Kind::Disk.index_of(Point::BlkQueue);
const GETRQ: usize = Kind::Disk.index_of(Point::BlkGetrq);
const INSERT: usize = Kind::Disk.index_of(Point::BlkInsert);
const REQUEUE: usize = Kind::Disk.index_of(Point::BlkRequeue);
const ISSUE: usize = Kind::Disk.index_of(Point::BlkIssue);
const PUSH: usize = Kind::Disk.index_of(Point::BlkfrontPush);
const UPCALL: usize = Kind::Disk.index_of(Point::EvtchnUpcall);
const IRQ: usize = Kind::Disk.index_of(Point::IrqEntry);
const SOFTIRQ: usize = Kind::Disk.index_of(Point::SoftirqEntry);
const COMPLETE: usize = Kind::Disk.index_of(Point::BlkComplete);

/// bios that may stand in front of the one that began a request.
const FRONT_MERGES: usize = 4;

#[btf_tracepoint(function = "block_bio_queue")]
pub fn blk_queue(ctx: BtfTracePointContext) -> i32 {
    let bio: Object = ctx.arg(0);
    let bdev = member::BioBdev.read(bio);
    let dev = member::BdevDev.read(bdev);
    if device_index(dev).is_none() {
        return 0;
    }
    let Some((slot, _)) = slots::claim(key_of(bio), Kind::Disk) else {
        return 0;
    };
    let bytes = member::BioSize.read(bio);
    let opf = member::BioOpf.read(bio);
    slot.first_bytes = bytes;
    slot.owner = cpu::task();
    let record = &mut slot.record;
    record.op = operation(opf, bytes);
    record.dev = dev;
    record.position = match record.op {
        op::FLUSH => 0,
        _ => member::BioSector.read(bio),
    };
    record.bytes = bytes;
    record.tid = cpu::thread();
    record.cpu = cpu::number();
    record.at[QUEUE] = now();
    0
}

#[btf_tracepoint(function = "block_getrq")]
pub fn blk_getrq(ctx: BtfTracePointContext) -> i32 {
    let bio: Object = ctx.arg(0);
    if !bio.is_null()
        && let Some((slot, _)) = slots::find(key_of(bio))
    {
        slot.record.at[GETRQ] = now();
    }
    0
}

/// The slot of a request, by its first bio; that of a flush, which has none, by itself. Where the bio was
/// merged in front, it takes over what the bio behind it has passed.
#[inline(always)]
fn slot_of(request: Object) -> Option<(&'static mut Slot, Handle)> {
    let bio = member::RequestBio.read(request);
    if bio.is_null() {
        return slots::find(key_of(request));
    }
    let (slot, handle) = slots::find(key_of(bio))?;
    if slot.record.flags & flag::FRONT_MERGED != 0 && slot.record.at[GETRQ] == 0 {
        take_over(slot, bio);
    }
    Some((slot, handle))
}

#[inline(always)]
fn take_over(slot: &mut Slot, first: Object) {
    let mut bio = first;
    for _ in 0..FRONT_MERGES {
        bio = member::BioNext.read(bio);
        if bio.is_null() {
            return;
        }
        let Some((behind, _)) = slots::find(key_of(bio)) else {
            continue;
        };
        let began = behind.record.at[GETRQ] != 0;
        slot.record.at[QUEUE] = slot.record.at[QUEUE].min(behind.record.at[QUEUE]);
        slot.record.at[GETRQ] = behind.record.at[GETRQ];
        slot.record.at[INSERT] = behind.record.at[INSERT];
        slots::free(behind);
        if began {
            return;
        }
    }
}

#[btf_tracepoint(function = "block_rq_insert")]
pub fn blk_insert(ctx: BtfTracePointContext) -> i32 {
    if let Some((slot, _)) = slot_of(ctx.arg(0)) {
        let record = &mut slot.record;
        // A request that the driver gave back is inserted again: the first time counts.
        if record.at[INSERT] == 0 && record.flags & flag::REQUEUED == 0 {
            record.at[INSERT] = now();
        }
    }
    0
}

#[btf_tracepoint(function = "block_rq_issue")]
pub fn blk_issue(ctx: BtfTracePointContext) -> i32 {
    let request: Object = ctx.arg(0);
    if let Some((slot, handle)) = slot_of(request).or_else(|| flush::begin(request)) {
        let bytes = member::RequestDataLen.read(request);
        let record = &mut slot.record;
        if bytes > slot.first_bytes {
            record.flags |= flag::MERGED;
        }
        if bytes != 0 {
            record.bytes = bytes;
        }
        record.at[ISSUE] = now();
        if let Some(cpu) = cpu::this() {
            cpu.issued = handle;
            cpu.issued_at = record.at[ISSUE];
            steal::look(cpu, || record.at[ISSUE]);
        }
        preempt::look(record.at[ISSUE]);
    }
    0
}

#[btf_tracepoint(function = "block_rq_requeue")]
pub fn blk_requeue(ctx: BtfTracePointContext) -> i32 {
    if let Some((slot, _)) = slot_of(ctx.arg(0)) {
        count(Counter::Requeued);
        slot.record.flags |= flag::REQUEUED;
        slot.record.at[REQUEUE] = now();
        slot.record.at[ISSUE] = 0;
        slot.record.at[PUSH] = 0;
    }
    0
}

/// Says which interrupt brought the completion, if it came in one and after the issue.
#[inline(always)]
fn stamp_interrupt(slot: &mut Slot, cpu: &Cpu) {
    let record = &mut slot.record;
    let issued = record.at[ISSUE];
    match cpu.level() {
        Level::Hardirq if cpu.serves_device() && cpu.irq_at >= issued => {
            record.at[IRQ] = cpu.irq_at;
            record.irq = cpu.irq;
            stamp_upcall(record, cpu.upcall_at);
        }
        Level::Softirq if cpu.softirq == softirq::BLOCK + 1 && cpu.softirq_at >= issued => {
            record.at[SOFTIRQ] = cpu.softirq_at;
            if cpu.cause.count > 1 {
                record.flags |= flag::IRQ_AMBIGUOUS;
            } else if cpu.cause.count == 1 && cpu.cause.at >= issued {
                record.at[IRQ] = cpu.cause.at;
                record.irq = cpu.cause.irq;
                stamp_upcall(record, cpu.cause.upcall_at);
            }
        }
        _ => {}
    }
}

/// The last event channel upcall before the interrupt, on Xen.
#[inline(always)]
fn stamp_upcall(record: &mut Record, upcall_at: u64) {
    if upcall_at < record.at[ISSUE] || upcall_at == 0 {
        return;
    }
    record.at[UPCALL] = upcall_at;
    // An answer on another CPU can overtake the return of blkfront's function.
    if record.at[PUSH] > upcall_at {
        record.at[PUSH] = 0;
    }
}

#[btf_tracepoint(function = "block_rq_complete")]
pub fn blk_complete(ctx: BtfTracePointContext) -> i32 {
    let request: Object = ctx.arg(0);
    let error: u8 = ctx.arg(1);
    let bytes: u32 = ctx.arg(2);
    let bio = member::RequestBio.read(request);
    if bio.is_null() {
        if let Some((slot, handle)) = slots::find(key_of(request)) {
            complete(slot, handle, error);
        }
        return 0;
    }
    let total = member::RequestDataLen.read(request);
    let Some((slot, handle)) = slots::find(key_of(bio)) else {
        complete_rest(request, error, bytes >= total);
        return 0;
    };
    if bytes < total {
        slot.record.flags |= flag::PARTIAL;
        let _ = PARTIAL.insert(&key_of(request), &handle, 0);
        return 0;
    }
    // All of its parts were of the first bio.
    if slot.record.flags & flag::PARTIAL != 0 {
        let _ = PARTIAL.remove(&key_of(request));
    }
    if flush::waited(slot) && !flush::take_over(slot, request) {
        count(Counter::FlushesMerged);
        slots::free(slot);
        return 0;
    }
    complete(slot, handle, error);
    0
}

/// A completion whose first bio has no slot: the last part of a request that completed in parts, or
/// a request that was in flight before the programs were attached.
#[inline(always)]
fn complete_rest(request: Object, error: u8, is_last: bool) {
    let key = key_of(request);
    // SAFETY: the value is a plain number, copied at once.
    let Some(handle) = (unsafe { PARTIAL.get(&key) }).copied() else {
        return;
    };
    if is_last {
        let _ = PARTIAL.remove(&key);
        if let Some(slot) = slots::of(handle)
            && slot.record.flags & flag::PARTIAL != 0
        {
            complete(slot, handle, error);
        }
    }
}

#[inline(always)]
fn complete(slot: &'static mut Slot, handle: Handle, error: u8) {
    let Some(cpu) = cpu::this() else { return };
    slot.record.at[COMPLETE] = now();
    steal::look(cpu, || slot.record.at[COMPLETE]);
    if error != 0 {
        slot.record.flags |= flag::ERROR;
    }
    stamp_interrupt(slot, cpu);
    if slot.record.op == op::DISCARD {
        discard::complete(&slot.record);
    }
    if emit::aggregates() {
        emit::aggregate_disk(slot);
        return;
    }
    // The request's or the bio's memory may serve another before the record is written.
    slots::detach(slot);
    if sched::is_awake(slot) {
        slot.record.flags |= flag::READER_AWAKE;
    }
    // The bios' owners are told next, in this context: it may wake the task that waits.
    emit::begin_ending(cpu, slot, handle);
}

/// All bios of the request have been told: no waiting task was woken, or its switch is awaited. Those who
/// wait for a flush are told after this.
#[inline(always)]
fn owners_told() -> i32 {
    if let Some(cpu) = cpu::this()
        && flush::ending(cpu).is_none()
    {
        emit::end_previous(cpu);
    }
    0
}

#[btf_tracepoint(function = "block_io_done")]
pub fn blk_done(_ctx: BtfTracePointContext) -> i32 {
    owners_told()
}

/// The end of a bio on a device that makes no requests (device mapper, md, zram).
#[btf_tracepoint(function = "block_bio_complete")]
pub fn blk_bio_complete(ctx: BtfTracePointContext) -> i32 {
    let bio: Object = ctx.arg(1);
    let Some((slot, handle)) = slots::find(key_of(bio)) else {
        return 0;
    };
    // One that became a request ends with the request.
    if slot.record.at[GETRQ] != 0 || slot.record.at[ISSUE] != 0 || slot.state != state::FLIGHT {
        return 0;
    }
    if setting!(bio_based) != 0 {
        let status = member::BioStatus.read(bio);
        take_from_below(slot);
        complete(slot, handle, status);
    }
    0
}

/// A bio on a device that makes no requests ends where one of the device below it does: what that one has
/// passed since, it has passed, too. Of several the last one counts.
#[inline(always)]
fn take_from_below(slot: &mut Slot) {
    let Some(cpu) = cpu::this() else { return };
    let ending = *cpu.ending();
    if let Some(below) = slots::of(ending)
        && below.state == state::ENDING
        && below.record.kind == Kind::Disk as u8
        && below.record.at[QUEUE] >= slot.record.at[QUEUE]
    {
        for point in [INSERT, ISSUE, UPCALL, IRQ, SOFTIRQ] {
            slot.record.at[point] = below.record.at[point];
        }
        slot.record.irq = below.record.irq;
    }
}

/// For kernels without `block_io_done` (before 6.5): the owners have been told when the request is
/// handed to its own end.
#[fentry(function = "__blk_mq_end_request")]
pub fn blk_done_fentry(_ctx: FEntryContext) -> i32 {
    owners_told()
}
