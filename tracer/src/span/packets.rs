//! Joins a guest's packets with what Dom0 saw of them on their way over its bridge.
//!
//! Both records of a packet name both hosts, the protocol, both ports, the bytes, and what tells the packets
//! of one flow apart: TCP's sequence number, or the IP id. A packet that consists of several segments passes
//! the ring whole; what GRO of Dom0 has joined has the first one's number. What is left to tell apart,
//! retransmissions and ids that come again, causality tells: Dom0 passes nothing on before it was sent, and
//! nothing is received before it was handed over.

use std::collections::{HashMap, HashSet, VecDeque};

use tracer_common::{
    point::{Kind, Point},
    record::{Record, flag},
};

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

/// Dom0 may be at work on a packet for so long after the guest is done with it, before its record is
/// written: the card, or a queueing discipline that delays.
const LATER_NS: u64 = 5_000_000_000;
/// A packet lies on a ring no longer than this: an id of 16 bits comes again.
const ON_RING_NS: i64 = 1_000_000_000;
/// A record of Dom0 that no guest has asked for this long is not kept.
const KEPT_NS: u64 = 20_000_000_000;
/// Nor are more than so many.
const KEPT: usize = 1 << 20;

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

fn last(record: &Record) -> u64 {
    record.at.iter().copied().max().unwrap_or(0)
}

/// When Dom0 handed a packet to its guest, as far as is known: when netback took it to copy it.
const fn handed_over(other: &Record) -> u64 {
    if other.at[DEQUEUE] != 0 {
        other.at[DEQUEUE]
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

fn distance(later: u64, earlier: u64) -> i64 {
    i64::try_from(i128::from(later) - i128::from(earlier)).unwrap_or(i64::MAX)
}

/// The time from one domain to the other.
fn on_ring(guest: &Record, other: &Record) -> i64 {
    if guest.kind == Kind::NetRx as u8 {
        distance(received(guest), handed_over(other))
    } else {
        distance(other.at[DOM0_RECEIVE], guest.at[XMIT])
    }
}

/// What causality demands of a packet's records; `None`: Dom0's is not whole.
fn leeway(guest: &Record, other: &Record) -> Option<Leeway> {
    if guest.kind == Kind::NetRx as u8 {
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

/// Dom0's records of packets that it passes on, read along with a guest's own. `M` says which of them
/// count as packets of the run.
#[derive(Debug)]
pub struct Forwarded<I, M> {
    records: I,
    is_measured: M,
    /// Read, and not yet asked for.
    kept: HashMap<Key, Vec<Record>>,
    /// The same in their order.
    order: VecDeque<(u64, Key)>,
    /// The guest's flows.
    flows: HashSet<Flow>,
    /// Packets that no guest has asked for.
    unasked: HashMap<Flow, u64>,
    newest: u64,
    ended: bool,
}

impl<I: Iterator<Item = Record>, M: Fn(&Record) -> bool> Forwarded<I, M> {
    /// Of Dom0's records, in the order in which they were written.
    pub fn new(records: I, is_measured: M) -> Self {
        Self {
            records,
            is_measured,
            kept: HashMap::new(),
            order: VecDeque::new(),
            flows: HashSet::new(),
            unasked: HashMap::new(),
            newest: 0,
            ended: false,
        }
    }

    /// Reads on until nothing is to come that Dom0 was done with before `time`.
    fn advance(&mut self, time: u64) {
        while !self.ended && self.newest <= time.saturating_add(LATER_NS) {
            let Some(record) = self.records.next() else {
                self.ended = true;
                break;
            };
            let at = last(&record);
            self.newest = self.newest.max(at);
            self.order.push_back((at, key(&record)));
            self.kept.entry(key(&record)).or_default().push(record);
        }
        // What nobody asks for any more. What was read ahead may, after a pause, be of a time long after.
        while let Some((at, _)) = self.order.front().copied()
            && (self.order.len() > KEPT || at.saturating_add(KEPT_NS) < time)
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((at, key)) = self.order.pop_front() else {
            return;
        };
        let Some(records) = self.kept.get_mut(&key) else {
            return;
        };
        let is_measured = &self.is_measured;
        records.retain(|record| {
            let stays = last(record) != at;
            if !stays && is_measured(record) {
                *self.unasked.entry(flow(key)).or_default() += 1;
            }
            stays
        });
        if records.is_empty() {
            self.kept.remove(&key);
        }
    }

    /// Dom0's record of a guest's packet whose stamps are on Dom0's clock, give or take `error`
    /// nanoseconds. It is taken out.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn take(&mut self, guest: &Record, error: i64) -> Result<(Record, Leeway), Unjoined> {
        self.advance(last(guest).saturating_add(error.unsigned_abs()));
        self.flows.insert(flow(key(guest)));
        let records = self.kept.get_mut(&key(guest)).ok_or(Unjoined::Unseen)?;
        let in_time = |record: &Record| {
            let is_recent = on_ring(guest, record) <= ON_RING_NS.saturating_add(error);
            leeway(guest, record).filter(|leeway| is_recent && leeway.within(error))
        };
        let found: Vec<(usize, Leeway)> = records
            .iter()
            .enumerate()
            .filter_map(|(index, record)| Some((index, in_time(record)?)))
            .collect();
        let mut whole = found
            .iter()
            .filter(|(index, _)| records[*index].bytes == guest.bytes);
        let (index, leeway) = match (whole.next(), whole.next()) {
            (Some(only), None) => *only,
            (Some(_), Some(_)) => return Err(Unjoined::Ambiguous),
            (None, _) if found.is_empty() => return Err(Unjoined::Unseen),
            (None, _) => return Err(Unjoined::Resized),
        };
        let record = records.swap_remove(index);
        if records.is_empty() {
            self.kept.remove(&key(guest));
        }
        Ok((record, leeway))
    }

    /// How many packets of the guest's flows only Dom0 has seen, now that the guest has asked for all of
    /// its own.
    pub fn unasked(mut self) -> u64 {
        self.advance(u64::MAX);
        while !self.order.is_empty() {
            self.forget_first();
        }
        let of_guest = self
            .unasked
            .iter()
            .filter(|(flow, _)| self.flows.contains(*flow));
        of_guest.map(|(_, count)| *count).sum()
    }
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
    let points = if guest.kind == Kind::NetRx as u8 {
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
