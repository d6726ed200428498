//! Joins a guest's disk requests with what its backend's domain saw of them.
//!
//! Both records of a request name the virtual disk, the first sector, the operation, the bytes and, where
//! the guest's kernel tells it, the place on the ring. What is left to tell apart, requests that come
//! again, causality tells: nothing is taken from the ring before it was issued, and nothing is complete
//! before it was answered.

use tracer_common::{
    point::{Kind, Point},
    record::{MAX_POINTS, Record, flag},
};

use crate::span::{
    Span,
    join::Unjoined,
    kept::{KEPT, ReadAlong},
    taken::Taken,
};

const ISSUE: usize = Kind::Disk.index_of(Point::BlkIssue);
const COMPLETE: usize = Kind::Disk.index_of(Point::BlkComplete);
const PUSH: usize = Kind::Disk.index_of(Point::BlkfrontPush);
const INTERRUPT: usize = Kind::Blkback.index_of(Point::BlkbackInterrupt);
const CONSUME: usize = Kind::Blkback.index_of(Point::BlkbackConsume);
const SUBMIT: usize = Kind::Blkback.index_of(Point::BlkbackSubmit);
const DONE: usize = Kind::Blkback.index_of(Point::BlkbackComplete);
const RESPONSE: usize = Kind::Blkback.index_of(Point::BlkbackResponse);

/// Records are written in the order in which requests end, all but for what other CPUs wrote meanwhile.
const DISORDER_NS: u64 = 100_000_000;

/// What both records of a request have in common: disk, first sector, operation.
type Key = (u32, u64, u8);

const fn key(record: &Record) -> Key {
    (record.dev, record.position, record.op)
}

/// From when until when the backend had a request for certain: from taking it off the ring to its answer; where the
/// kernel passed over the kprobe at either end, from its first bio, or until its last. None if the record is not whole.
#[must_use]
pub fn held(backend: &Record) -> Option<(u64, u64)> {
    let either = |end: usize, inner: usize| match backend.at[end] {
        0 => backend.at[inner],
        at => at,
    };
    let (from, until) = (either(CONSUME, SUBMIT), either(RESPONSE, DONE));
    (from != 0 && until != 0).then_some((from, until))
}

/// When a whole record's request was answered, at the earliest.
fn answered(backend: &Record) -> u64 {
    held(backend).map_or(0, |(_, until)| until)
}

/// How far a request's two records are from what causality demands, in nanoseconds of the guest's clock:
/// that may be moved by at least `least` and by at most `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leeway {
    /// Its completion must not come before the answer.
    pub least: i64,
    /// Its issue must not come after the ring was read.
    pub most: i64,
}

impl Leeway {
    fn of(guest: &Record, backend: &Record) -> Self {
        let distance = |later: u64, earlier: u64| {
            i64::try_from(i128::from(later) - i128::from(earlier)).unwrap_or(i64::MAX)
        };
        let (from, until) = held(backend).unwrap_or_default();
        Self {
            least: distance(until, guest.at[COMPLETE]),
            most: distance(from, guest.at[ISSUE]),
        }
    }

    /// Whether no more than `error` is needed to keep to causality.
    #[must_use]
    pub const fn within(self, error: i64) -> bool {
        self.least <= error && self.most >= -error
    }
}

/// The backend's records of one guest, read along with the guest's own.
#[derive(Debug)]
pub struct Backend<I> {
    records: ReadAlong<Key, I>,
    /// Let go of without having been asked for; no more than are kept.
    left: Vec<Record>,
}

impl<I: Iterator<Item = Record>> Backend<I> {
    /// Of one guest's records, in the order in which they were written.
    pub fn new(records: I) -> Self {
        let describe = |record: &Record| {
            let at = answered(record);
            (key(record), at, at)
        };
        Self {
            records: ReadAlong::new(records, describe),
            left: Vec::new(),
        }
    }

    /// What nobody has asked for, in the order of the answers.
    pub fn left(mut self) -> Vec<Record> {
        let (kept, unread) = self.records.into_parts();
        self.left
            .extend(kept.into_records().map(|(_, record)| record));
        self.left.extend(unread.take(KEPT));
        self.left.sort_by_key(answered);
        self.left
    }

    /// Reads on until nothing is to come that was answered before `time`.
    fn advance(&mut self, time: u64) {
        self.records.advance(time.saturating_add(DISORDER_NS));
        while let Some((_, record)) = self.records.kept.let_go(time) {
            if self.left.len() < KEPT {
                self.left.push(record);
            }
        }
    }

    /// The backend's record of a guest's request, whose `dev` is the virtual disk's number and whose
    /// stamps are on the backend's clock, give or take `error` nanoseconds. It is taken out.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn take(&mut self, guest: &Record, error: i64) -> Result<(Record, Leeway), Unjoined> {
        self.advance(guest.at[COMPLETE].saturating_add(error.unsigned_abs()));
        let fits = |record: &Record| {
            (guest.flags & flag::RING_ID == 0 || record.key == guest.key)
                && record.bytes == guest.bytes
                && Leeway::of(guest, record).within(error)
        };
        let all = self.records.kept.between(key(guest), 0..=u64::MAX);
        let mut found = all.filter(|(_, record)| fits(record));
        let place = match (found.next(), found.next()) {
            (Some((place, _)), None) => place,
            (None, _) => return Err(Unjoined::Unseen),
            (Some(_), Some(_)) => return Err(Unjoined::Ambiguous),
        };
        drop(found);
        let record = self.records.kept.remove(&place).ok_or(Unjoined::Unseen)?;
        Ok((record, Leeway::of(guest, &record)))
    }
}

/// Makes one span of both records. Where the clocks' error lets them overlap, the guest's stamps hold the
/// backend's in; a stamp of the guest that cannot be this request's own, since the answer was already
/// there or not yet, is left out.
///
/// # Errors
/// If either record is not whole, or its stamps are not in order.
pub fn join(
    datapath: &'static str,
    iteration: u32,
    guest: &Record,
    backend: &Record,
    error: u64,
) -> Result<Span, Unjoined> {
    let (issue, complete) = (guest.at[ISSUE], guest.at[COMPLETE]);
    if issue == 0 || complete < issue || held(backend).is_none() {
        return Err(Unjoined::Incomplete);
    }
    let called = backend.at[INTERRUPT] != 0;
    let pushed = issue.max(guest.at[PUSH]);
    let inner: Vec<(Point, u64)> = stamps(Kind::Blkback, &backend.at)
        // The interrupt of an earlier request, whose thread had already found this one.
        .filter(|(_, at)| at.saturating_add(error) >= issue)
        // A thread that ran already was not waited for.
        .filter(|(point, at)| *point != Point::BlkbackRun || called || *at > pushed)
        .map(|(point, at)| (point, at.clamp(issue, complete)))
        .collect();
    let (first, last) = match (inner.first(), inner.last()) {
        (Some((_, first)), Some((_, last))) => (*first, *last),
        _ => return Err(Unjoined::Incomplete),
    };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (point, at) in stamps(Kind::Disk, &guest.at) {
        if point <= Point::BlkIssue {
            before.push((point, at));
        } else if point == Point::BlkfrontPush {
            if at <= first.saturating_add(error) {
                before.push((point, at.min(first)));
            }
        } else if at.saturating_add(error) >= last || point >= Point::BlkComplete {
            after.push((point, at.max(last)));
        }
    }
    let points: Vec<(Point, u64)> = before.into_iter().chain(inner).chain(after).collect();
    if points.windows(2).any(|pair| pair[1].1 < pair[0].1) {
        return Err(Unjoined::Disordered);
    }
    Ok(Span {
        datapath,
        iteration,
        device: guest.dev,
        operation: guest.op,
        flags: guest.flags | (backend.flags & flag::ERROR),
        bytes: guest.bytes,
        tid: guest.tid,
        irq: guest.irq,
        position: guest.position,
        points,
        taken: Taken::default(),
    })
}

fn stamps(kind: Kind, at: &[u64; MAX_POINTS]) -> impl Iterator<Item = (Point, u64)> {
    let all = kind.points().iter().copied().zip(*at);
    all.filter(|(_, at)| *at != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tracer_common::record::ring_id;

    /// Operation, disk, ring, sector; when it is issued; how long it takes to the ring, in the backend and
    /// back.
    type Request = (u8, u32, u16, u64, u64, [u64; 3]);

    /// Few disks, rings and sectors, so that requests come again and again, a flush (2) more than others.
    fn any_request() -> impl Strategy<Value = Request> {
        let times = prop::array::uniform3(1u64..1000);
        (0u8..4, 0u32..2, 0u16..2, 0u64..3, 0u64..50_000, times)
    }

    /// Both records of each request, in the order of their issue. `tid` says whose they are. An id is the
    /// lowest that is free on the ring, so that ids come again soon.
    fn records(mut requests: Vec<Request>, tells_id: bool) -> Vec<(Record, Record)> {
        requests.sort_by_key(|request| request.4);
        let mut taken: Vec<(u32, u16, u64, u64)> = Vec::new();
        let records = requests.into_iter().enumerate().map(|(index, request)| {
            let (op, dev, ring, sector, issue, [there, within, back]) = request;
            let consume = issue + there;
            let complete = consume + within + back;
            taken.retain(|(.., until)| *until >= issue);
            let is_free = |id: &u64| !taken.iter().any(|t| (t.0, t.1, t.2) == (dev, ring, *id));
            let id = (0..).find(is_free).unwrap();
            taken.push((dev, ring, id, complete));
            let both = Record {
                kind: Kind::Disk as u8,
                op,
                dev,
                key: ring_id::pack(ring, id),
                position: if op == 2 { 0 } else { sector },
                bytes: if op == 2 { 0 } else { 4096 },
                tid: u32::try_from(index).unwrap(),
                ..Record::EMPTY
            };
            let (mut guest, mut backend) = (both, both);
            guest.flags = if tells_id { flag::RING_ID } else { 0 };
            guest.at[ISSUE] = issue;
            guest.at[COMPLETE] = complete;
            backend.kind = Kind::Blkback as u8;
            backend.at[CONSUME] = consume;
            backend.at[RESPONSE] = consume + within;
            (guest, backend)
        });
        records.collect()
    }

    fn joined(pairs: &[(Record, Record)]) -> Vec<(u32, Result<u32, Unjoined>)> {
        let mut guests: Vec<Record> = pairs.iter().map(|pair| pair.0).collect();
        let mut backends: Vec<Record> = pairs.iter().map(|pair| pair.1).collect();
        guests.sort_by_key(|record| record.at[COMPLETE]);
        backends.sort_by_key(|record| record.at[RESPONSE]);
        let mut backend = Backend::new(backends.into_iter());
        let found = guests.iter().map(|guest| {
            let found = backend.take(guest, 0).map(|(record, _)| record.tid);
            (guest.tid, found)
        });
        found.collect()
    }

    #[test]
    fn requests_before_a_long_pause_are_joined() {
        let requests = (0..200).map(|number| {
            let pause = if number < 100 { 0 } else { 80_000_000_000 };
            (0, 0, 0, number, number * 1_000 + pause, [100; 3])
        });
        let pairs = records(requests.collect(), true);
        let all = joined(&pairs);
        assert!(all.iter().all(|(own, other)| *other == Ok(*own)), "{all:?}");
    }

    proptest! {
        #[test]
        fn every_request_finds_its_own_by_its_place_on_the_ring(
            requests in prop::collection::vec(any_request(), 1..100),
        ) {
            for (guest, found) in joined(&records(requests, true)) {
                prop_assert_eq!(found, Ok(guest));
            }
        }

        #[test]
        fn without_a_place_on_the_ring_none_is_joined_that_causality_forbids(
            requests in prop::collection::vec(any_request(), 1..100),
        ) {
            let pairs = records(requests, false);
            for (guest, found) in joined(&pairs) {
                if let Ok(found) = found {
                    let (guest, backend) = (&pairs[guest as usize].0, &pairs[found as usize].1);
                    prop_assert!(Leeway::of(guest, backend).within(0));
                    prop_assert_eq!((guest.dev, guest.op), (backend.dev, backend.op));
                }
            }
        }
    }

    /// A flush that comes with a write's data has no queue of its own: its record begins at its issue.
    #[test]
    fn a_flush_that_nobody_queued_is_a_whole_span() {
        let request = (2, 0, 0, 0, 100, [10, 20, 30]);
        let (guest, backend) = records(vec![request], true)[0];
        let span = join("disk/vbd", 0, &guest, &backend, 0).unwrap();
        let points: Vec<Point> = span.points.iter().map(|(point, _)| *point).collect();
        let whole = [
            Point::BlkIssue,
            Point::BlkbackConsume,
            Point::BlkbackResponse,
            Point::BlkComplete,
        ];
        assert_eq!((&points[..], span.total_ns()), (&whole[..], 60));
    }

    /// The kernel passes over a kprobe inside another one's run.
    #[test]
    fn a_request_is_joined_by_what_is_seen_inside_of_ends_that_are_not() {
        let request = (1, 0, 0, 8, 100, [10, 20, 30]);
        let (guest, mut backend) = records(vec![request], true)[0];
        backend.at[SUBMIT] = backend.at[CONSUME] + 5;
        backend.at[DONE] = backend.at[RESPONSE] - 5;
        (backend.at[CONSUME], backend.at[RESPONSE]) = (0, 0);
        let (found, leeway) = Backend::new([backend].into_iter()).take(&guest, 0).unwrap();
        assert_eq!(
            leeway,
            Leeway {
                least: -35,
                most: 15
            }
        );
        let span = join("disk/vbd", 0, &guest, &found, 0).unwrap();
        let whole = [
            (Point::BlkIssue, 100),
            (Point::BlkbackSubmit, 115),
            (Point::BlkbackComplete, 125),
            (Point::BlkComplete, 160),
        ];
        assert_eq!(span.points, whole);
        backend.at[DONE] = 0;
        assert_eq!(held(&backend), None);
    }
}
