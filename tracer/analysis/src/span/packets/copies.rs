//! Copies of one packet: which of Dom0's records is of which of the guest's.
//!
//! TCP sends a segment again that waits for long, unchanged but for what no record has; both copies may then
//! lie on the ring at once, and causality lets either record of Dom0 be of either copy. But a queue of a
//! virtual card is a ring, which is filled and emptied in order, under a lock or by one thread at either
//! end, and the stamps compared here are taken there: of the copies that pass one queue, the i-th on it is
//! the i-th off it. No clock is needed for that: either domain's records are in its own clock's order.
//!
//! So, of a group of copies which causality ties to each other and to no other, as many records of both
//! domains belong to each other in that order. If a packet or a record was lost, the numbers differ, and
//! nothing is said of the group. What would not show is a record lost in the guest and that of another copy
//! lost in Dom0, within one group; neither does it of a packet that has but one record in each.
//!
//! No record says by which queue its packet went, and copies of one segment need not go by the same: Linux
//! gives a socket another hash after a timeout, and chooses the queue by that. Order therefore counts where
//! cards have one queue. On others causality must leave but one way to match the copies.

use tracer_common::record::Record;

use super::{
    DEQUEUE, DOM0_RECEIVE, DOM0_XMIT, GRO, RECEIVE, XMIT, at_dom0, at_guest, fit, is_received,
};

/// A number of queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queues {
    /// What is put on it first is taken first.
    One,
    /// More than one, or it is not known how many.
    Several,
}

/// For each of the guest's copies of a packet, which of Dom0's records it has; both in the order of their
/// times. `None`: that cannot be told.
pub(super) fn match_copies(
    guests: &[Record],
    others: &[Record],
    queues: Queues,
    error: i64,
) -> Option<Vec<usize>> {
    if guests.len() != others.len() {
        return None;
    }
    match queues {
        Queues::One => by_order(guests, others, error),
        Queues::Several => by_causality(guests, others, error),
    }
}

fn by_order(guests: &[Record], others: &[Record], error: i64) -> Option<Vec<usize>> {
    let (of_guest, of_dom0): (&[usize], &[usize]) = if guests.first().is_some_and(is_received) {
        (&[GRO, RECEIVE], &[DOM0_XMIT, DEQUEUE])
    } else {
        (&[XMIT], &[DOM0_RECEIVE])
    };
    let is_admitted = are_in_order(guests, of_guest)
        && are_in_order(others, of_dom0)
        && std::iter::zip(guests, others).all(|(guest, other)| fit(guest, other, error).is_some());
    is_admitted.then(|| (0..guests.len()).collect())
}

/// Whether all went by one card, and each came to both ends of its queue after the one before it.
fn are_in_order(records: &[Record], stamps: &[usize]) -> bool {
    records.windows(2).all(|pair| {
        let both = stamps
            .iter()
            .map(|stamp| (pair[0].at[*stamp], pair[1].at[*stamp]));
        let mut both = both
            .filter(|(first, second)| *first != 0 && *second != 0)
            .peekable();
        pair[0].dev == pair[1].dev
            && both.peek().is_some()
            && both.all(|(first, second)| first < second)
    })
}

/// Whoever has but one record left to be its own, has that. Where there is only one way for all, this finds
/// it: another one would lead through a circle of copies that each have two.
fn by_causality(guests: &[Record], others: &[Record], error: i64) -> Option<Vec<usize>> {
    let fitting = |guest: &Record| {
        let all = others.iter().enumerate();
        let fitting = all.filter(|(_, other)| fit(guest, other, error).is_some());
        fitting.map(|(index, _)| index).collect()
    };
    let mut left: Vec<Vec<usize>> = guests.iter().map(fitting).collect();
    let mut found = vec![None; guests.len()];
    while let Some(guest) = left.iter().position(|left| left.len() == 1) {
        let other = left[guest][0];
        found[guest] = Some(other);
        for left in &mut left {
            left.retain(|index| *index != other);
        }
    }
    found.into_iter().collect()
}

/// How many of the first copies, in the order of their times, were both put on the ring and taken from it
/// before the next one was put on it: what follows has nothing to do with them. The most.
pub(super) fn until_empty(guests: &[Record], others: &[Record], error: i64) -> Option<usize> {
    let is_received = guests.first().is_some_and(is_received);
    let of_guest: Vec<u64> = guests.iter().map(at_guest).collect();
    let of_dom0 = others.iter().map(|other| at_dom0(other, is_received));
    let of_dom0: Vec<u64> = of_dom0.collect();
    let (put, taken) = if is_received {
        (of_dom0, of_guest)
    } else {
        (of_guest, of_dom0)
    };
    let error_ns = error.unsigned_abs();
    let fitting = std::iter::zip(guests, others)
        .take_while(|(guest, other)| fit(guest, other, error).is_some())
        .count();
    let is_empty = |count: &usize| {
        let Some(next) = put.get(*count) else {
            return false;
        };
        let is_late = |at: &u64| at.saturating_add(error_ns) >= *next;
        *next > taken[*count - 1].saturating_add(error_ns) && taken.get(*count).is_none_or(is_late)
    };
    (1..=fitting).rev().find(is_empty)
}
