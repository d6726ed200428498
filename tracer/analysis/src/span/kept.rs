//! Records that wait to be asked for: found by what they have in common with another domain's and by their
//! time, and let go of in the order in which they came.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeInclusive,
};

use tracer_common::record::Record;

/// A record that nobody has asked for this long after it is not kept: the other domain's was lost.
const KEPT_NS: u64 = 20_000_000_000;
/// Nor are more than so many.
pub(super) const KEPT: usize = 1 << 20;

/// Where a record is kept: what it is found by, its time, and a number that tells it from others of both.
pub(super) type Place<K> = (K, u64, u64);

/// Records by place.
#[derive(Debug)]
pub(super) struct Kept<K> {
    records: BTreeMap<Place<K>, Record>,
    /// Their places as they came, and those of records that were taken out meanwhile.
    order: VecDeque<Place<K>>,
    came: u64,
}

impl<K: Copy + Ord> Kept<K> {
    pub(super) const fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            order: VecDeque::new(),
            came: 0,
        }
    }

    pub(super) fn insert(&mut self, key: K, at: u64, record: Record) {
        self.came += 1;
        let place = (key, at, self.came);
        self.order.push_back(place);
        self.records.insert(place, record);
    }

    pub(super) fn get(&self, place: &Place<K>) -> Option<&Record> {
        self.records.get(place)
    }

    pub(super) fn remove(&mut self, place: &Place<K>) -> Option<Record> {
        self.records.remove(place)
    }

    /// Those of one key and of these times, in the order of their times.
    pub(super) fn between(
        &self,
        key: K,
        times: RangeInclusive<u64>,
    ) -> impl Iterator<Item = (Place<K>, &Record)> {
        let from = (key, *times.start(), 0);
        let to = (key, *times.end(), u64::MAX);
        let found = (from <= to).then(|| self.records.range(from..=to));
        found
            .into_iter()
            .flatten()
            .map(|(place, record)| (*place, record))
    }

    /// The place of the first that came, whether it is still there or not, if its turn has come, or if
    /// there are too many.
    pub(super) fn next_if(&mut self, has_come: impl Fn(u64) -> bool) -> Option<Place<K>> {
        let first = self.order.front()?;
        if has_come(first.1) || self.order.len() > KEPT {
            self.order.pop_front()
        } else {
            None
        }
    }

    /// Lets go of a record that nobody asks for any more, since `time` is asked for. What was read ahead is
    /// another matter: after a pause it is of a time long after.
    pub(super) fn let_go(&mut self, time: u64) -> Option<(K, Record)> {
        loop {
            let place = self.next_if(|at| at.saturating_add(KEPT_NS) < time)?;
            if let Some(record) = self.records.remove(&place) {
                return Some((place.0, record));
            }
        }
    }

    pub(super) fn into_records(self) -> impl Iterator<Item = (K, Record)> {
        self.records
            .into_iter()
            .map(|(place, record)| (place.0, record))
    }
}

/// What a domain's record is found by, its time, and when it was written, as far as its stamps tell.
pub(super) type Describe<K> = fn(&Record) -> (K, u64, u64);

/// A domain's records, in the order in which they were written, read along with another's.
#[derive(Debug)]
pub(super) struct ReadAlong<K, I> {
    records: I,
    describe: Describe<K>,
    pub(super) kept: Kept<K>,
    /// The latest that was read was written then.
    newest: u64,
    ended: bool,
}

impl<K: Copy + Ord, I: Iterator<Item = Record>> ReadAlong<K, I> {
    pub(super) const fn new(records: I, describe: Describe<K>) -> Self {
        Self {
            records,
            describe,
            kept: Kept::new(),
            newest: 0,
            ended: false,
        }
    }

    /// Reads on until one comes that was written after `time`.
    pub(super) fn advance(&mut self, time: u64) {
        while !self.ended && self.newest <= time {
            let Some(record) = self.records.next() else {
                self.ended = true;
                break;
            };
            let (key, at, written) = (self.describe)(&record);
            self.newest = self.newest.max(written);
            self.kept.insert(key, at, record);
        }
    }

    /// What is kept, and what was not yet read.
    pub(super) fn into_parts(self) -> (Kept<K>, I) {
        (self.kept, self.records)
    }
}
