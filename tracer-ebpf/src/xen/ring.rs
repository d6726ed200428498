//! The rings of blkback: what is known of each between its interrupt and the first bio of a request that was taken from
//! it, and what all records of its requests have in common.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tracer_common::{
    point::{Kind, Point},
    record::{Record, flag, vbd},
};

use crate::core::{kernel::now, member, preempt, slots::Slot};

/// What is known of one of blkback's rings since the last request was taken from it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ring {
    /// The first interrupt since then, and the upcall that brought it; 0: none.
    pub interrupt_at: u64,
    pub upcall_at: u64,
    /// The request that was taken and has no bio yet: when, and when its thread had got its CPU.
    pub consume_at: u64,
    pub run_at: u64,
    pub irq: u32,
    pad: u32,
}

/// By the address of a `xen_blkif_ring`; that of a guest that is gone makes room.
#[map]
static RINGS: LruHashMap<u64, Ring> = LruHashMap::with_max_entries(1024, 0);

const UPCALL: usize = Kind::Blkback.index_of(Point::Dom0Upcall);
const INTERRUPT: usize = Kind::Blkback.index_of(Point::BlkbackInterrupt);
const RUN: usize = Kind::Blkback.index_of(Point::BlkbackRun);
const CONSUME: usize = Kind::Blkback.index_of(Point::BlkbackConsume);
const SUBMIT: usize = Kind::Blkback.index_of(Point::BlkbackSubmit);

/// Stamps of Dom0's block layer: `(in its own record, here)`.
const DOM0: [(usize, usize); 4] = [
    same(Point::BlkIssue, Point::Dom0Issue),
    same(Point::IrqEntry, Point::Dom0Irq),
    same(Point::SoftirqEntry, Point::Dom0Softirq),
    same(Point::BlkComplete, Point::Dom0Complete),
];

const fn same(there: Point, here: Point) -> (usize, usize) {
    (Kind::Disk.index_of(there), Kind::Blkback.index_of(here))
}

#[inline(always)]
pub fn of(address: u64) -> Option<&'static mut Ring> {
    // SAFETY: the map outlives the program; the ring's thread and its interrupt handler are the only
    // ones that write, and a lost race costs a stamp.
    RINGS
        .get_ptr_mut(&address)
        .map(|ring| unsafe { &mut *ring })
}

#[inline(always)]
pub fn or_new(address: u64) -> Option<&'static mut Ring> {
    if let Some(ring) = of(address) {
        return Some(ring);
    }
    let empty = Ring {
        interrupt_at: 0,
        upcall_at: 0,
        consume_at: 0,
        run_at: 0,
        irq: 0,
        pad: 0,
    };
    RINGS.insert(&address, &empty, 0).ok()?;
    of(address)
}

/// Stamps what came before the first bio. An interrupt belongs to the first request that was taken
/// after it: those behind it were found while blkback was busy.
#[inline(always)]
pub fn begin(slot: &mut Slot, ring: &mut Ring) {
    let record = &mut slot.record;
    let submit_at = now();
    let seen = ring.consume_at != 0;
    let taken_at = if seen { ring.consume_at } else { submit_at };
    let interrupt_at = ring.interrupt_at;
    if interrupt_at != 0 && interrupt_at <= taken_at {
        record.at[INTERRUPT] = interrupt_at;
        record.irq = ring.irq;
        if ring.upcall_at <= interrupt_at {
            record.at[UPCALL] = ring.upcall_at;
        }
        ring.interrupt_at = 0;
    }
    record.at[SUBMIT] = submit_at;
    if !seen {
        // When the thread got its CPU was looked at then, too.
        preempt::begin();
        return;
    }
    // Without an interrupt of its own it may still have waited for the thread to run: whether the thread
    // ran already when the guest put it on the ring, only the guest knows.
    if ring.run_at >= record.at[INTERRUPT] && ring.run_at <= ring.consume_at {
        record.at[RUN] = ring.run_at;
    }
    record.at[CONSUME] = ring.consume_at;
    preempt::look(submit_at);
    ring.consume_at = 0;
}

/// The guest and virtual disk of a ring, 0 if the kernel would not say; and which of its rings it is.
#[inline(always)]
pub fn disk(ring: u64) -> (u32, u16) {
    let Some(blkif) = member::RingBlkif.read_unknown(ring) else {
        return (0, 0);
    };
    let first = member::BlkifRings.read_unknown(blkif).unwrap_or(ring);
    let number = ring.wrapping_sub(first) / u64::from(member::RingBytes.bytes());
    let domid = member::BlkifDomid.read_unknown(blkif);
    let handle = member::BlkifHandle.read_unknown(blkif);
    match (domid, handle) {
        (Some(domid), Some(handle)) => (vbd::pack(domid, handle), number as u16),
        _ => (0, 0),
    }
}

/// What Dom0's block layer did with a request that it was given after blkback had taken it.
#[inline(always)]
pub fn take_dom0(slot: &mut Slot, dom0: &Record) {
    let issued = dom0.at[DOM0[0].0];
    if issued != 0 && issued < slot.record.at[SUBMIT] {
        return;
    }
    for (there, here) in DOM0 {
        slot.record.at[here] = dom0.at[there];
    }
    // Whether blkback's thread slept says nothing of the guest's reader.
    slot.record.flags |= dom0.flags & !flag::READER_AWAKE;
}
