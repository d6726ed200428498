//! Packets that come in by one device and go out by another: over Dom0's bridge to a guest or from it.
//!
//! Where a packet that came in is queued on a device, its record goes on as one of both ways.

use tracer_common::{
    counter::Counter,
    point::{Kind, Point},
    record::{Record, flag},
};

use crate::{
    core::{
        counters::count,
        cpu::Cpu,
        emit,
        kernel::{Object, key_of, now},
        settings::setting,
        slots::{self, Slot, state},
    },
    net::{packet, rx},
};

const POLL: usize = Kind::NetForward.index_of(Point::Dom0Poll);
const CONSUME: usize = Kind::NetForward.index_of(Point::NetbackConsume);
const RECEIVE: usize = Kind::NetForward.index_of(Point::Dom0Receive);
const QUEUE: usize = Kind::NetForward.index_of(Point::Dom0Queue);
const DEQUEUE: usize = Kind::NetForward.index_of(Point::Dom0Dequeue);
const XMIT: usize = Kind::NetForward.index_of(Point::Dom0Xmit);
const XMIT_DONE: usize = Kind::NetForward.index_of(Point::Dom0XmitDone);
const NETBACK: usize = Kind::NetForward.index_of(Point::NetbackDequeue);
const NOTIFY: usize = Kind::NetForward.index_of(Point::NetbackNotify);
const COMPLETE: usize = Kind::NetForward.index_of(Point::Dom0TxComplete);

/// Stamps of the way in: `(in a received packet's record, in this one)`.
const CAME: [(usize, usize); 7] = [
    came(Point::NetifRx, Point::NetifRx),
    came(Point::EvtchnUpcall, Point::Dom0Upcall),
    came(Point::IrqEntry, Point::Dom0Irq),
    came(Point::SoftirqEntry, Point::Dom0Softirq),
    came(Point::NapiPoll, Point::Dom0Poll),
    came(Point::NapiGroReceive, Point::Dom0Gro),
    came(Point::NetifReceive, Point::Dom0Receive),
];

const fn came(received: Point, passed_on: Point) -> (usize, usize) {
    (
        Kind::NetRx.index_of(received),
        Kind::NetForward.index_of(passed_on),
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
    if setting!(forwards) == 0 {
        return false;
    }
    let Some((came, _)) = slots::find(rx::key(skb)) else {
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
    record.key = came.record.key;
    record.position = came.record.position;
    record.bytes = came.record.bytes;
    record.irq = came.record.irq;
    record.cpu = came.record.cpu;
    // GRO may have joined others to it since it came.
    packet::resize_outgoing(record, skb, came.first_bytes);
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

/// The driver's transmit function is called, for the packet or for a piece that was cut from it.
#[inline(always)]
pub fn xmit(record: &mut Record, is_cut: bool) {
    if record.at[XMIT] == 0 || !is_cut {
        record.at[XMIT] = now();
    }
}

/// The driver's transmit function has returned. Of the pieces of one packet, the first counts: what
/// becomes of the others is not followed.
#[inline(always)]
pub fn xmit_done(slot: &mut Slot, code: i32, is_cut: bool) {
    let record = &mut slot.record;
    if code != 0 {
        record.flags |= flag::REQUEUED;
    } else if record.at[XMIT] != 0 && record.at[NETBACK] == 0 {
        record.at[XMIT_DONE] = now();
        if is_cut {
            emit::net_forward(slot);
        }
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
pub fn freed(slot: &mut Slot, flags: u16, cpu: &Cpu) {
    let record = &mut slot.record;
    if record.at[XMIT] == 0 && flags == 0 {
        // Cut into pieces in software: the pieces go on.
        if record.flags & flag::SEGMENTED == 0 {
            count(Counter::Abandoned);
            slots::free(slot);
        } else {
            slot.state = state::CUT;
        }
        return;
    }
    // Some drivers free what they have sent as if they dropped it.
    if record.at[XMIT_DONE] == 0 && record.at[NETBACK] == 0 {
        record.flags |= flags;
    }
    if record.at[NETBACK] != 0 {
        record.at[NOTIFY] = cpu.netback_notified_after(record.at[NETBACK]);
    }
    record.at[COMPLETE] = now();
    emit::net_forward(slot);
}
