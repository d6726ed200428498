//! Requests in flight: one slot each, in a preallocated, set-associative table.
//!
//! A table of this kind costs one inlined array look-up a trace point, where a hash map costs a
//! call, a hash and, twice a request, a free list under a lock.

use aya_ebpf::{macros::map, maps::Array};
pub use tracer_common::record::{Slot, state};
use tracer_common::{
    counter::Counter,
    point::Kind,
    record::{MAX_POINTS, Record},
};

use crate::core::{
    counters::count,
    kernel::{hash, now},
    settings::setting,
};

/// Ways of a set.
const WAYS: u32 = 4;
/// A slot whose request was last seen this long ago may be given to another.
const STALE_NS: u64 = 60_000_000_000;

/// `BPF_F_MMAPABLE`: not to map it, but since its values then begin on a page, so that each slot has
/// cache lines of its own.
const MMAPABLE: u32 = 1 << 10;

#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(8192, MMAPABLE);

/// A slot's index plus one: what other maps store, so that zero means none.
pub type Handle = u32;

#[inline(always)]
fn at(index: u32) -> Option<&'static mut Slot> {
    // SAFETY: the map outlives the program. Two CPUs hold the same slot only if they handle the
    // same request, whose trace points follow each other; a lost race for a free slot is seen as a
    // request without a start.
    unsafe { SLOTS.get_ptr_mut(index).map(|slot| &mut *slot) }
}

#[inline(always)]
fn way(key: u64, way: u32) -> u32 {
    (hash(key) ^ way) & setting!(slot_mask) as u32
}

/// Takes a slot for a request that begins now. The caller sets the rest of the record's head.
#[inline(always)]
pub fn claim(key: u64, kind: Kind) -> Option<(&'static mut Slot, Handle)> {
    claim_after(key, kind, |_| count(Counter::Abandoned))
}

/// As [`claim`]; `unfinished` has the slot of a request whose memory is used again.
#[inline(always)]
pub fn claim_after(
    key: u64,
    kind: Kind,
    unfinished: impl Fn(&mut Slot),
) -> Option<(&'static mut Slot, Handle)> {
    for w in 0..WAYS {
        let index = way(key, w);
        let slot = at(index)?;
        if slot.key == key {
            unfinished(slot);
        }
        if slot.key == 0 || slot.key == key {
            return Some((begin(slot, key, kind), index + 1));
        }
    }
    let index = way(key, 0);
    let slot = at(index)?;
    if now().wrapping_sub(last(&slot.record)) > STALE_NS {
        count(Counter::Abandoned);
        return Some((begin(slot, key, kind), index + 1));
    }
    count(Counter::SlotsFull);
    None
}

#[inline(always)]
fn begin(slot: &'static mut Slot, key: u64, kind: Kind) -> &'static mut Slot {
    slot.key = key;
    slot.state = state::FLIGHT;
    slot.first_bytes = 0;
    slot.owner = 0;
    let record = &mut slot.record;
    record.kind = kind as u8;
    record.flags = 0;
    record.key = key;
    record.tid = 0;
    record.irq = 0;
    record.cpu_end = 0;
    for index in 0..kind.points().len() {
        record.at[index] = 0;
    }
    slot
}

/// The slot of a request in flight.
#[inline(always)]
pub fn find(key: u64) -> Option<(&'static mut Slot, Handle)> {
    for w in 0..WAYS {
        let index = way(key, w);
        let slot = at(index)?;
        if slot.key == key {
            return Some((slot, index + 1));
        }
    }
    None
}

/// The slot of a handle.
#[inline(always)]
pub fn of(handle: Handle) -> Option<&'static mut Slot> {
    if handle == 0 {
        return None;
    }
    at(handle - 1)
}

/// What the slot was found by may serve another request before its record is written: other keys of a disk's requests
/// are even.
#[inline(always)]
pub fn detach(slot: &mut Slot) {
    slot.key |= 1;
}

/// When a request was last seen.
#[inline(always)]
fn last(record: &Record) -> u64 {
    let mut last = 0;
    for index in 0..MAX_POINTS {
        if record.at[index] > last {
            last = record.at[index];
        }
    }
    last
}

/// Gives a slot back.
#[inline(always)]
pub fn free(slot: &mut Slot) {
    slot.key = 0;
    slot.state = 0;
}
