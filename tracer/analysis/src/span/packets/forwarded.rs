//! Both domains' records of packets, read along with each other. A packet of the guest waits until all is
//! read that could be its copy, or a copy's own record in Dom0: some seconds of both recordings are held, and
//! no more than a number of records.

use std::collections::{BTreeMap, HashMap, HashSet};

use tracer_common::record::Record;

use super::{
    DOM0_RECEIVE, Flow, Key, ON_RING_NS, at_dom0, at_guest,
    copies::{Queues, match_copies, until_empty},
    fit, flow, is_received, key,
};
use crate::span::{
    across::Leeway,
    join::Unjoined,
    kept::{Kept, Place, ReadAlong},
};

/// A record is written so long after its packet was on the ring, at the most: the card, a queueing
/// discipline that delays, a reader that has no CPU.
const LATER_NS: u64 = 5_000_000_000;
/// More copies than a connection sends of one segment while the first is on the ring.
const MOST_COPIES: usize = 64;

/// Packets that are remembered for having had copies which were not to be told apart.
const MOST_UNCLEAR: usize = 1 << 16;

/// A guest's packet and what became of it: Dom0's record, and how far both are from what causality demands.
pub type Answer = (Record, Result<(Record, Leeway), Unjoined>);

/// A record of one of several packets that look the same, and where it is kept.
type Duplicate = (Place<Key>, Record);
/// In the order in which they were on the ring.
type Copies = Vec<Duplicate>;

/// Dom0's records of packets that it passes on, read along with a guest's own. `M` says which of them
/// count as packets of the run.
#[derive(Debug)]
pub struct Forwarded<I, M> {
    /// Dom0's, by when they came in there.
    others: ReadAlong<Key, I>,
    is_measured: M,
    queues: Queues,
    error: i64,
    /// The guest's that have no answer yet, by when they were at its end of the ring.
    waiting: Kept<Key>,
    answers: Vec<Answer>,
    /// Packets whose copies have been too many to be told apart, and go on to be up to this time.
    unclear: HashMap<Key, u64>,
    /// The guest's flows.
    flows: HashSet<Flow>,
    /// Packets that no guest has asked for.
    unasked: HashMap<Flow, u64>,
    /// The guest's latest record was written then.
    now: u64,
}

fn written(record: &Record) -> u64 {
    record.at.iter().copied().max().unwrap_or(0)
}

impl<I: Iterator<Item = Record>, M: Fn(&Record) -> bool> Forwarded<I, M> {
    /// Of Dom0's records, in the order in which they were written, for a guest whose stamps are on Dom0's
    /// clock, give or take `error` nanoseconds, and whose cards have so many queues.
    pub fn new(records: I, is_measured: M, queues: Queues, error: i64) -> Self {
        let describe = |record: &Record| (key(record), record.at[DOM0_RECEIVE], written(record));
        Self {
            others: ReadAlong::new(records, describe),
            is_measured,
            queues,
            error,
            waiting: Kept::new(),
            answers: Vec::new(),
            unclear: HashMap::new(),
            flows: HashSet::new(),
            unasked: HashMap::new(),
            now: 0,
        }
    }

    /// Adds a packet of the guest, in the order in which its records were written; says what became of
    /// those that need wait no longer.
    pub fn ask(&mut self, guest: Record) -> Vec<Answer> {
        self.flows.insert(flow(key(&guest)));
        self.now = self.now.max(written(&guest));
        self.waiting.insert(key(&guest), at_guest(&guest), guest);
        let error_ns = self.error.unsigned_abs();
        self.others.advance(self.now.saturating_add(error_ns));
        self.settle(self.now.saturating_sub(LATER_NS));
        while let Some((key, record)) = self.others.kept.let_go(self.now) {
            self.leave(key, &record);
        }
        std::mem::take(&mut self.answers)
    }

    /// What became of all others: the guest has no more.
    pub fn rest(&mut self) -> Vec<Answer> {
        self.others.advance(u64::MAX);
        self.settle(u64::MAX);
        std::mem::take(&mut self.answers)
    }

    /// How many packets of the guest's flows only Dom0 has seen, now that the guest has asked for all of
    /// its own.
    pub fn unasked(mut self) -> u64 {
        self.others.advance(u64::MAX);
        let kept = std::mem::replace(&mut self.others.kept, Kept::new());
        for (key, record) in kept.into_records() {
            self.leave(key, &record);
        }
        let of_guest = self.unasked.iter();
        let of_guest = of_guest.filter(|(flow, _)| self.flows.contains(*flow));
        of_guest.map(|(_, count)| *count).sum()
    }

    fn leave(&mut self, key: Key, record: &Record) {
        if (self.is_measured)(record) {
            *self.unasked.entry(flow(key)).or_default() += 1;
        }
    }

    /// How far apart in time both records of a packet are, or the guest's of two that Dom0's may be of.
    const fn reach(&self) -> u64 {
        ON_RING_NS
            .saturating_add(self.error.saturating_mul(2))
            .unsigned_abs()
    }

    /// Answers for packets up to `known`: all that was on the ring up to that time is read.
    fn settle(&mut self, known: u64) {
        let reach = self.reach();
        while let Some(place) = self.waiting.next_if(|at| is_due(at, reach, known)) {
            if !is_due(place.1, reach, known) {
                // Too many wait.
                let guest = self.waiting.get(&place).copied();
                self.give_up(guest.map(|guest| (place, guest)).as_slice());
                continue;
            }
            // With those that have waited on for it.
            let waiting = self.waiting.between(place.0, 0..=place.1);
            let turn: Vec<Place<Key>> = waiting.map(|(place, _)| place).collect();
            for place in turn {
                while self.decide(place, known) {}
            }
        }
    }

    /// Answers for a packet and its copies; says whether it has to be looked at once more.
    fn decide(&mut self, place: Place<Key>, known: u64) -> bool {
        let Some(guest) = self.waiting.get(&place).copied() else {
            return false;
        };
        if self.is_unclear(&place) {
            self.give_up(&[(place, guest)]);
            return false;
        }
        let reach = self.reach();
        let (guests, others) = self.copies(place, guest);
        let is_crowd = guests.len().max(others.len()) > MOST_COPIES;
        let are_due = guests
            .iter()
            .all(|(place, _)| is_due(place.1, reach, known));
        if are_due && !is_crowd {
            let matched = self.matched(&guests, &others);
            self.answer(&guests, &others, matched.as_deref());
            return false;
        }
        // Otherwise it waits on, and has its turn with the last of its copies.
        let is_long = is_due(guests[0].0.1.saturating_add(LATER_NS), reach, known);
        if is_crowd || is_long {
            self.thin(place.0, &guest, known);
        }
        is_crowd || is_long
    }

    /// A packet and all that could be its copies, as far as what is Dom0's of one could be of another; and
    /// Dom0's. If they are a crowd, not all.
    fn copies(&self, place: Place<Key>, guest: Record) -> (Copies, Copies) {
        let mut guests = BTreeMap::from([(place, guest)]);
        let mut others = BTreeMap::new();
        loop {
            let before = guests.len() + others.len();
            for guest in guests.values() {
                others.extend(self.others_of(guest));
            }
            for other in others.values() {
                guests.extend(self.guests_of(other, &guest));
            }
            let crowd = guests.len().max(others.len()) > MOST_COPIES;
            if crowd || guests.len() + others.len() == before {
                return (
                    guests.into_iter().collect(),
                    in_order(others, is_received(&guest)),
                );
            }
        }
    }

    /// Dom0's records that a packet fits, whatever their sizes.
    fn all_of(&self, guest: &Record) -> impl Iterator<Item = Duplicate> {
        let (at, error) = (at_guest(guest), self.error);
        // What it receives came to Dom0 before it was on the ring.
        let times = at.saturating_sub(LATER_NS + self.reach())..=at.saturating_add(self.reach());
        let all = self.others.kept.between(key(guest), times);
        all.filter(move |(_, other)| fit(guest, other, error).is_some())
            .map(|(place, other)| (place, *other))
    }

    fn others_of(&self, guest: &Record) -> impl Iterator<Item = Duplicate> {
        let bytes = guest.bytes;
        self.all_of(guest)
            .filter(move |(_, other)| other.bytes == bytes)
    }

    /// Packets like one of the guest's that fit a record of Dom0.
    fn guests_of(&self, other: &Record, like: &Record) -> impl Iterator<Item = Duplicate> {
        let (at, error, bytes) = (at_dom0(other, is_received(like)), self.error, like.bytes);
        let times = at.saturating_sub(self.reach())..=at.saturating_add(self.reach());
        let all = self.waiting.between(key(like), times);
        all.filter(move |(_, guest)| guest.bytes == bytes && fit(guest, other, error).is_some())
            .map(|(place, guest)| (place, *guest))
    }

    fn matched(&self, guests: &[Duplicate], others: &[Duplicate]) -> Option<Vec<usize>> {
        match_copies(&records(guests), &records(others), self.queues, self.error)
    }

    fn answer(&mut self, guests: &[Duplicate], others: &[Duplicate], matched: Option<&[usize]>) {
        for (index, (place, guest)) in guests.iter().enumerate() {
            self.waiting.remove(place);
            let other = matched.map(|matched| others[matched[index]]);
            let found = match other {
                Some((place, other)) => {
                    self.others.kept.remove(&place);
                    let leeway = fit(guest, &other, self.error);
                    leeway.map(|leeway| (other, leeway)).ok_or(Unjoined::Unseen)
                }
                None if !others.is_empty() => Err(Unjoined::Ambiguous),
                None if self.all_of(guest).next().is_some() => Err(Unjoined::Resized),
                None => Err(Unjoined::Unseen),
            };
            self.answers.push((*guest, found));
        }
    }

    /// Answers for the first of copies that are too many to wait for all of them (ids that come again and
    /// again, or packets without any): up to where the ring was empty of them. If it never was, or a record
    /// that was lost makes it seem so, they are given up.
    fn thin(&mut self, key: Key, like: &Record, known: u64) {
        let all = self.waiting.between(key, 0..=known);
        let alike = all.filter(|(_, guest)| guest.bytes == like.bytes);
        let copies = alike.map(|(place, guest)| (place, *guest));
        let guests: Copies = copies.take(MOST_COPIES).collect();
        let mut others = BTreeMap::new();
        for (_, guest) in &guests {
            others.extend(self.others_of(guest));
        }
        let others = in_order(others, is_received(like));
        let count = until_empty(&records(&guests), &records(&others), self.error).unwrap_or(0);
        let (first, theirs) = (&guests[..count], &others[..count]);
        match self.matched(first, theirs) {
            Some(matched) if count > 0 => self.answer(first, theirs, Some(&matched)),
            _ => self.give_up(&guests),
        }
    }

    /// These cannot be told apart, nor what follows them, until no copy has come for so long that none of
    /// them can be on the ring.
    fn give_up(&mut self, guests: &[Duplicate]) {
        let reach = self.reach();
        for (place, guest) in guests {
            self.waiting.remove(place);
            self.answers.push((*guest, Err(Unjoined::Ambiguous)));
            if self.unclear.len() == MOST_UNCLEAR {
                self.forget_unclear(place.1);
            }
            let until = self.unclear.entry(place.0).or_default();
            *until = (*until).max(place.1.saturating_add(reach));
        }
    }

    /// Packets come here in the order of their times, nearly: of most, no copy can come any more. Where half of
    /// them still can, all are forgotten, so that this is not done for each packet.
    fn forget_unclear(&mut self, time: u64) {
        self.unclear.retain(|_, until| *until >= time);
        if self.unclear.len() > MOST_UNCLEAR / 2 {
            self.unclear.clear();
        }
    }

    fn is_unclear(&mut self, place: &Place<Key>) -> bool {
        let is_unclear = self.unclear.get(&place.0).map(|until| place.1 <= *until);
        if is_unclear == Some(false) {
            self.unclear.remove(&place.0);
        }
        is_unclear.unwrap_or(false)
    }
}

fn records(copies: &[Duplicate]) -> Vec<Record> {
    copies.iter().map(|(_, record)| *record).collect()
}

/// Whether all is read that can have to do with a packet that was on the ring at this time.
const fn is_due(at: u64, reach: u64, known: u64) -> bool {
    known == u64::MAX || at.saturating_add(reach) <= known
}

/// Dom0's records in the order in which they were at its end of the ring.
fn in_order(others: BTreeMap<Place<Key>, Record>, is_received: bool) -> Copies {
    let mut others: Copies = others.into_iter().collect();
    others.sort_by_key(|(_, other)| at_dom0(other, is_received));
    others
}
