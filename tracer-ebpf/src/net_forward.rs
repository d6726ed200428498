//! Packets that come in by one device and go out by another: over Dom0's bridge to a guest or from it.
//!
//! Where a packet that came in is queued on a device, its record goes on as one of both ways.

use tracer_common::{
    counter::Counter,
    point::{Kind, Point},
    record::{Record, flag},
};

use crate::{
    cpu::{Cpu, count},
    emit,
    kernel::{Object, Setting, key_of, now},
    net_rx, slots,
    slots::Slot,
};

/// Whether the run follows such packets.
#[unsafe(no_mangle)]
static FORWARDS: Setting = Setting::new(0);

const POLL: usize = Kind::NetForward.index_of(Point::NapiPoll);
const CONSUME: usize = Kind::NetForward.index_of(Point::NetbackConsume);
const RECEIVE: usize = Kind::NetForward.index_of(Point::NetifReceive);
const QUEUE: usize = Kind::NetForward.index_of(Point::NetQueue);
const DEQUEUE: usize = Kind::NetForward.index_of(Point::QdiscDequeue);
const XMIT: usize = Kind::NetForward.index_of(Point::NetXmit);
const XMIT_DONE: usize = Kind::NetForward.index_of(Point::NetXmitDone);
const NETBACK: usize = Kind::NetForward.index_of(Point::NetbackDequeue);
const COMPLETE: usize = Kind::NetForward.index_of(Point::NetTxComplete);

/// Stamps of the way in: `(in a received packet's record, in this one)`.
const CAME: [(usize, usize); 7] = [
    shared(Point::NetifRx),
    shared(Point::EvtchnUpcall),
    shared(Point::IrqEntry),
    shared(Point::SoftirqEntry),
    shared(Point::NapiPoll),
    shared(Point::NapiGroReceive),
    shared(Point::NetifReceive),
];

const fn shared(point: Point) -> (usize, usize) {
    (
        Kind::NetRx.index_of(point),
        Kind::NetForward.index_of(point),
    )
}

/// Whether a slot holds a packet that is passed on.
#[inline(always)]
pub fn holds(slot: &Slot) -> bool {
    slot.record.kind == Kind::NetForward as u8
}

/// The packet is queued on a device: if it came in by another, its record goes on.
#[inline(always)]
pub fn begin(skb: Object, cpu: &mut Cpu) -> bool {
    const READY: usize = Kind::NetRx.index_of(Point::SockReady);
    if FORWARDS.get() == 0 {
        return false;
    }
    let Some((came, _)) = slots::find(net_rx::key(skb)) else {
        return false;
    };
    if came.record.kind != Kind::NetRx as u8
        || came.record.at[CAME[6].0] == 0
        || came.record.at[READY] != 0
    {
        return false;
    }
    let Some((slot, handle)) = slots::claim(key_of(skb), Kind::NetForward) else {
        return false;
    };
    let record = &mut slot.record;
    record.op = came.record.op;
    record.flags = came.record.flags;
    record.dev = came.record.dev;
    record.position = came.record.position;
    record.bytes = came.record.bytes;
    record.irq = came.record.irq;
    record.cpu = came.record.cpu;
    for (there, here) in CAME {
        record.at[here] = came.record.at[there];
    }
    // netback's work on a ring, if the packet came out of that.
    let poll_at = record.at[POLL];
    if poll_at != 0 && cpu.netback_at >= poll_at && cpu.netback_at <= record.at[RECEIVE] {
        record.at[CONSUME] = cpu.netback_at;
    }
    record.at[QUEUE] = now();
    slots::free(came);
    cpu.sending = handle;
    true
}

/// The packet is queued once more, on a device below the first (a VLAN, a bridge), or again.
#[inline(always)]
pub fn queued_again(slot: &mut Slot) -> bool {
    slot.record.at[XMIT_DONE] == 0
}

/// The queueing discipline hands it out.
#[inline(always)]
pub fn dequeued(record: &mut Record) {
    record.at[DEQUEUE] = now();
}

/// The driver's transmit function is called.
#[inline(always)]
pub fn xmit(record: &mut Record) {
    record.at[XMIT] = now();
}

/// The driver's transmit function has returned.
#[inline(always)]
pub fn xmit_done(record: &mut Record, code: i32) {
    if code != 0 {
        record.flags |= flag::REQUEUED;
    } else if record.at[XMIT] != 0 {
        record.at[XMIT_DONE] = now();
    }
}

/// netback's thread takes it from its queue.
#[inline(always)]
pub fn to_guest(slot: &mut Slot) {
    if holds(slot) && slot.record.at[XMIT] != 0 {
        slot.record.at[NETBACK] = now();
    }
}

/// The packet's memory is given back: the device has sent it, or netback has copied it to its guest
/// (and drops its own copy, as the kernel sees it).
#[inline(always)]
pub fn freed(slot: &mut Slot, flags: u16) {
    if slot.record.at[XMIT] == 0 && flags == 0 {
        // Cut into pieces in software, which are not followed.
        count(Counter::Abandoned);
        slots::free(slot);
        return;
    }
    if slot.record.at[NETBACK] == 0 {
        slot.record.flags |= flags;
    }
    slot.record.at[COMPLETE] = now();
    emit::net_forward(slot);
}
