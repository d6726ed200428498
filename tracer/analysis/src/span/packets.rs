//! Joins a guest's packets with what Dom0 saw of them on their way over its bridge.
//!
//! Both records of a packet name both hosts, the protocol, both ports, the bytes, and what tells the packets
//! of one flow apart: TCP's sequence number, or the IP id. A packet that consists of several segments passes
//! the ring whole; what GRO of Dom0 has joined has the first one's number. What is left to tell apart are
//! copies: retransmissions, and ids that come again. Causality tells most of them: Dom0 passes nothing on
//! before it was sent, and nothing is received before it was handed over. The order on the ring tells others
//! (`copies`), once all of them are read (`forwarded`).

mod copies;
mod forwarded;

use tracer_common::{
    point::{Kind, Point},
    record::{Record, flag},
};

pub use copies::Queues;
pub use forwarded::{Answer, Forwarded};

use crate::span::{
    Span,
    across::Leeway,
    join::{Unjoined, stamps},
    taken::Taken,
};

const XMIT: usize = Kind::NetTx.index_of(Point::NetXmit);
const NOTIFY: usize = Kind::NetTx.index_of(Point::NetfrontNotify);
const TX_COMPLETE: usize = Kind::NetTx.index_of(Point::NetTxComplete);
const GRO: usize = Kind::NetRx.index_of(Point::NapiGroReceive);
const RECEIVE: usize = Kind::NetRx.index_of(Point::NetifReceive);
const CONSUME: usize = Kind::NetForward.index_of(Point::NetbackConsume);
const DOM0_RECEIVE: usize = Kind::NetForward.index_of(Point::Dom0Receive);
const DOM0_XMIT: usize = Kind::NetForward.index_of(Point::Dom0Xmit);
const DEQUEUE: usize = Kind::NetForward.index_of(Point::NetbackDequeue);

/// A packet lies on a ring no longer than this: an id of 16 bits comes again.
const ON_RING_NS: i64 = 1_000_000_000;

/// What both records of a packet have in common: hosts, ports and number, protocol.
type Key = (u64, u64, u8);
/// Hosts, ports, protocol.
type Flow = (u64, u32, u8);

const fn key(record: &Record) -> Key {
    (record.key, record.position, record.op)
}

const fn flow((hosts, position, protocol): Key) -> Flow {
    (hosts, (position >> 32) as u32, protocol)
}

const fn is_received(guest: &Record) -> bool {
    guest.kind == Kind::NetRx as u8
}

/// When Dom0 handed a packet to its guest, as far as is known: when netback took it to copy it. 0: never, netback
/// had no room for it.
const fn handed_over(other: &Record) -> u64 {
    if other.at[DEQUEUE] != 0 {
        other.at[DEQUEUE]
    } else if other.flags & flag::DROPPED != 0 {
        0
    } else {
        other.at[DOM0_XMIT]
    }
}

/// When the guest first had the packet in its hands.
const fn received(guest: &Record) -> u64 {
    if guest.at[GRO] != 0 {
        guest.at[GRO]
    } else {
        guest.at[RECEIVE]
    }
}

/// When the guest put the packet on the ring, or took it from there.
const fn at_guest(guest: &Record) -> u64 {
    if is_received(guest) {
        received(guest)
    } else {
        guest.at[XMIT]
    }
}

/// When Dom0 took it from the ring of what the guest sends, or put it on that of what it receives.
const fn at_dom0(other: &Record, is_received: bool) -> u64 {
    if is_received {
        handed_over(other)
    } else {
        other.at[DOM0_RECEIVE]
    }
}

fn distance(later: u64, earlier: u64) -> i64 {
    i64::try_from(i128::from(later) - i128::from(earlier)).unwrap_or(i64::MAX)
}

/// The time from one domain to the other.
fn on_ring(guest: &Record, other: &Record) -> i64 {
    let (guest_at, dom0_at) = (at_guest(guest), at_dom0(other, is_received(guest)));
    if is_received(guest) {
        distance(guest_at, dom0_at)
    } else {
        distance(dom0_at, guest_at)
    }
}

/// What causality demands of a packet's records; `None`: Dom0's is not whole.
fn leeway(guest: &Record, other: &Record) -> Option<Leeway> {
    if is_received(guest) {
        let handed_over = handed_over(other);
        return (handed_over != 0).then(|| Leeway {
            least: distance(handed_over, received(guest)),
            most: i64::MAX,
        });
    }
    // The guest's card is told that the packet was taken only after netback has begun to take packets.
    let answered = other.at[CONSUME] != 0 && guest.at[TX_COMPLETE] != 0;
    Some(Leeway {
        least: if answered {
            distance(other.at[CONSUME], guest.at[TX_COMPLETE])
        } else {
            i64::MIN
        },
        most: distance(other.at[DOM0_RECEIVE], guest.at[XMIT]),
    })
}

/// What causality demands of both records, if they can be of one packet: they keep to it within `error`
/// nanoseconds, and it was not on the ring for too long.
fn fit(guest: &Record, other: &Record, error: i64) -> Option<Leeway> {
    let is_recent = on_ring(guest, other) <= ON_RING_NS.saturating_add(error);
    leeway(guest, other).filter(|leeway| is_recent && leeway.within(error))
}

/// Makes one span of both records. Where both domains are at work at once, it is the way of what ends
/// last: stamps of the other are left out.
///
/// # Errors
/// If either record is not whole, or its stamps are not in order.
pub fn join(
    datapath: &'static str,
    iteration: u32,
    guest: &Record,
    other: &Record,
    error: u64,
) -> Result<Span, Unjoined> {
    let points = if is_received(guest) {
        inward(guest, other, error)?
    } else {
        outward(guest, other, error)?
    };
    if points.len() < 2 || points.windows(2).any(|pair| pair[1].1 < pair[0].1) {
        return Err(Unjoined::Disordered);
    }
    Ok(Span {
        datapath,
        iteration,
        device: guest.dev,
        operation: guest.op,
        flags: guest.flags | (other.flags & flag::DROPPED),
        bytes: guest.bytes,
        tid: guest.tid,
        irq: guest.irq,
        position: guest.position,
        points,
        taken: Taken::default(),
    })
}

/// Out of the guest: up to its ring, through Dom0, and the answer, if Dom0 was done before it.
fn outward(guest: &Record, other: &Record, error: u64) -> Result<Vec<(Point, u64)>, Unjoined> {
    let (xmit, taken) = (guest.at[XMIT], other.at[DOM0_RECEIVE]);
    if xmit == 0 || taken == 0 {
        return Err(Unjoined::Incomplete);
    }
    let told = guest.at[NOTIFY];
    // netback may find the packet before it is told.
    let is_told = told != 0 && told <= taken.saturating_add(error);
    let sent = if is_told {
        told.min(taken).max(xmit)
    } else {
        xmit
    };
    let mut points: Vec<(Point, u64)> = stamps(Kind::NetTx, &guest.at)
        .take_while(|(point, _)| !matches!(point, Point::NetfrontNotify | Point::NetXmitDone))
        .filter(|(point, _)| !is_answer(*point))
        .collect();
    if is_told {
        points.push((Point::NetfrontNotify, sent));
    }
    // An interrupt, a poll that began before the packet was there, are those of an earlier one.
    let inner = stamps(Kind::NetForward, &other.at)
        .filter(|(point, at)| *point != Point::NetifRx && at.saturating_add(error) >= sent);
    points.extend(inner.map(|(point, at)| (point, at.max(sent))));
    let last = points.last().map_or(0, |(_, at)| *at);
    let answer = stamps(Kind::NetTx, &guest.at);
    points.extend(answer.filter(|(point, at)| is_answer(*point) && *at >= last));
    Ok(points)
}

/// Whether a point of a sent packet is that of its completion.
const fn is_answer(point: Point) -> bool {
    matches!(
        point,
        Point::EvtchnUpcall | Point::IrqEntry | Point::SoftirqEntry | Point::NetTxComplete
    )
}

/// Into the guest: through Dom0 until netback has copied it, then from the event channel to the reader.
fn inward(guest: &Record, other: &Record, error: u64) -> Result<Vec<(Point, u64)>, Unjoined> {
    let (handed_over, received) = (handed_over(other), received(guest));
    if handed_over == 0 || received == 0 {
        return Err(Unjoined::Incomplete);
    }
    if handed_over > received.saturating_add(error) {
        return Err(Unjoined::Disordered);
    }
    let mut points: Vec<(Point, u64)> = stamps(Kind::NetForward, &other.at)
        .filter(|(point, at)| match point {
            Point::Dom0TxComplete => false,
            // A guest that polls may have the packet before it is told.
            Point::NetbackNotify => *at <= received,
            _ => true,
        })
        .map(|(point, at)| (point, at.min(received)))
        .collect();
    let last = points.last().map_or(0, |(_, at)| *at);
    let own = stamps(Kind::NetRx, &guest.at).filter_map(|(point, at)| match point {
        Point::NetifRx => None,
        // The interrupt, the poll of an earlier packet, which found this one, too.
        Point::EvtchnUpcall | Point::IrqEntry | Point::SoftirqEntry | Point::NapiPoll => {
            (at >= last).then_some((point, at))
        }
        _ => Some((point, at.max(last))),
    });
    points.extend(own);
    Ok(points)
}

#[cfg(test)]
mod tests;
