//! The end of a request: one record to user space, or one count in the kernel's histograms.

use aya_ebpf::{macros::map, maps::RingBuf};
use tracer_common::{
    counter::Counter,
    point::Kind,
    record::{Record, flag},
};

use crate::core::{
    aggregate,
    counters::count,
    cpu::{self, Cpu},
    settings::setting,
    slots::{self, Handle, Slot, state},
};

/// `BPF_RB_NO_WAKEUP`: user space polls, since a wake-up costs twenty times the write.
const NO_WAKEUP: u64 = 1;

#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Whether the kernel keeps histograms instead of emitting every record.
#[inline(always)]
pub fn aggregates() -> bool {
    setting!(aggregates) != 0
}

/// Ends a disk request.
#[inline(always)]
pub fn disk(slot: &mut Slot) {
    slot.record.cpu_end = cpu::number();
    output::<{ Record::len(Kind::Disk) }>(&slot.record);
    slots::free(slot);
}

/// Ends a disk request in aggregate mode: counted, and emitted only if it is an outlier or of a sort
/// that has no histogram.
#[inline(always)]
pub fn aggregate_disk(slot: &mut Slot) {
    if aggregate::add(&slot.record) && aggregate::total_ns(&slot.record) < setting!(outlier_ns) {
        slots::free(slot);
    } else {
        disk(slot);
    }
}

/// Ends a request of a guest's virtual disk, in its backend.
#[inline(always)]
pub fn blkback(slot: &mut Slot) {
    slot.record.cpu_end = cpu::number();
    output::<{ Record::len(Kind::Blkback) }>(&slot.record);
    slots::free(slot);
}

/// Tells of time that the hypervisor has given to others.
#[inline(always)]
pub fn steal(record: &Record) {
    output::<{ Record::len(Kind::Steal) }>(record);
}

/// Tells of time that blkback's thread was not let work.
#[inline(always)]
pub fn preempt(record: &Record) {
    output::<{ Record::len(Kind::Preempt) }>(record);
}

/// Ends a packet on its way out.
#[inline(always)]
pub fn net_tx(slot: &mut Slot) {
    net::<{ Record::len(Kind::NetTx) }>(slot);
}

/// Ends a packet that was passed on.
#[inline(always)]
pub fn net_forward(slot: &mut Slot) {
    net::<{ Record::len(Kind::NetForward) }>(slot);
}

/// Ends a packet on its way in.
#[inline(always)]
pub fn net_rx(slot: &mut Slot) {
    net::<{ Record::len(Kind::NetRx) }>(slot);
}

#[inline(always)]
fn net<const LEN: usize>(slot: &mut Slot) {
    slot.record.cpu_end = cpu::number();
    if slot.record.flags & flag::DROPPED != 0 {
        count(Counter::Dropped);
    }
    output::<LEN>(&slot.record);
    slots::free(slot);
}

/// Ends a request that a task waits for.
#[inline(always)]
pub fn waited_for(slot: &mut Slot) {
    if slot.record.kind == Kind::Disk as u8 {
        disk(slot);
    } else {
        net_rx(slot);
    }
}

/// The owners of this request are told next, in this context: it may wake the task that waits. What
/// this level was ending before has ended.
#[inline(always)]
pub fn begin_ending(cpu: &mut Cpu, slot: &mut Slot, handle: Handle) {
    slot.state = state::ENDING;
    end_previous(cpu);
    *cpu.ending() = handle;
}

/// Emits what this level was still ending.
#[inline(always)]
pub fn end_previous(cpu: &mut Cpu) {
    let ending = cpu.ending();
    let handle = *ending;
    if handle == 0 {
        return;
    }
    *ending = 0;
    if let Some(slot) = slots::of(handle)
        && slot.state == state::ENDING
    {
        waited_for(slot);
    }
}

#[inline(always)]
fn output<const LEN: usize>(record: &Record) {
    // SAFETY: every record length is at most the size of a `Record`, which is plain old data.
    let bytes = unsafe { &*(&raw const *record).cast::<[u8; LEN]>() };
    match RECORDS.output::<[u8; LEN]>(bytes, NO_WAKEUP) {
        Ok(()) => count(Counter::Emitted),
        Err(_) => count(Counter::RingFull),
    }
}
