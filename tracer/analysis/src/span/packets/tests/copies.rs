//! Packets that look the same.

use super::*;

/// A packet that TCP sends at each of these times, the guest being told of all of them at once; and what
/// Dom0 sees of them where it takes them from the ring at these times.
fn held_up(sent_at: &[u64], taken_at: &[u64]) -> (Vec<Record>, Vec<Record>) {
    let told = taken_at.iter().copied().max().unwrap_or(0) + 100;
    let guests = sent_at.iter().map(|at| {
        let mut guest = sent(TCP, 7, *at);
        guest.at[TX_COMPLETE] = told.max(at + 66);
        guest
    });
    let others = taken_at.iter().map(|at| passed_on(TCP, 7, at - 24));
    (guests.collect(), others.collect())
}

/// A packet that Dom0 hands over at each of these times, and that its guest takes at these.
fn waiting_for_guest(handed_at: &[u64], taken_at: &[u64]) -> (Vec<Record>, Vec<Record>) {
    let guests = taken_at.iter().map(|at| taken(TCP, 7, at - 18));
    let others = handed_at.iter().map(|at| handed(TCP, 7, *at));
    (guests.collect(), others.collect())
}

/// When Dom0's record that each packet is joined with was at Dom0's end of the ring.
fn at_dom0_of(answers: &[Answer]) -> Vec<Result<u64, Unjoined>> {
    let all = answers.iter().map(|(guest, found)| {
        let found = found.as_ref();
        found
            .map(|(other, _)| at_dom0(other, is_received(guest)))
            .map_err(|why| *why)
    });
    all.collect()
}

#[test]
fn copies_that_lie_on_the_ring_at_once_are_told_apart_by_their_order() {
    let sent = held_up(&[1_000, 201_000, 401_000], &[500_000, 500_010, 500_020]);
    let received = waiting_for_guest(&[500_000, 500_010], &[600_000, 600_002]);
    for ((guests, others), count) in [(sent, 3), (received, 2)] {
        let own = others.clone();
        let (found, unasked) = answers(&guests, others, Queues::One, 2);
        let is_received = is_received(&guests[0]);
        let expected = own.iter().map(|other| Ok(at_dom0(other, is_received)));
        assert_eq!(at_dom0_of(&found), expected.collect::<Vec<_>>());
        assert_eq!((found.len(), unasked), (count, 0));
    }
}

/// netback drops a packet for which the ring has no room; the sender sends it again.
#[test]
fn a_copy_that_netback_has_dropped_is_nobody_s() {
    let (guests, mut others) = waiting_for_guest(&[500_000], &[600_000]);
    let mut dropped = handed(TCP, 7, 400_000);
    dropped.at[DEQUEUE] = 0;
    dropped.at[Kind::NetForward.index_of(Point::NetbackNotify)] = 0;
    dropped.flags |= flag::DROPPED;
    others.insert(0, dropped);
    for queues in [Queues::One, Queues::Several] {
        let (found, unasked) = answers(&guests, others.clone(), queues, 2);
        assert_eq!(at_dom0_of(&found), [Ok(500_000)]);
        assert_eq!(unasked, 1);
    }
}

/// A socket has another hash after a timeout, and by that another queue.
#[test]
fn copies_on_a_card_of_several_queues_have_no_order() {
    let (guests, others) = held_up(&[1_000, 201_000], &[500_000, 500_010]);
    let (found, unasked) = answers(&guests, others, Queues::Several, 2);
    assert_eq!(reasons(&found), [Some(Unjoined::Ambiguous); 2]);
    assert_eq!(unasked, 2);
}

/// The first is received before the second is handed over, which is enough for both.
#[test]
fn copies_that_causality_leaves_one_way_need_no_order() {
    let (guests, others) = waiting_for_guest(&[1_000, 201_000], &[1_500, 201_500]);
    let (found, _) = answers(&guests, others, Queues::Several, 2);
    assert_eq!(at_dom0_of(&found), [Ok(1_000), Ok(201_000)]);
}

#[test]
fn copies_of_which_one_is_lost_are_ambiguous() {
    let sent_at = [1_000, 201_000, 401_000];
    let taken_at = [500_000, 500_010, 500_020];
    for lost in 0..3 {
        let (guests, mut others) = held_up(&sent_at, &taken_at);
        others.remove(lost);
        let (found, unasked) = answers(&guests, others, Queues::One, 2);
        assert_eq!(reasons(&found), [Some(Unjoined::Ambiguous); 3]);
        assert_eq!(unasked, 2);
        let (mut guests, others) = held_up(&sent_at, &taken_at);
        guests.remove(lost);
        let (found, unasked) = answers(&guests, others, Queues::One, 2);
        assert_eq!(reasons(&found), [Some(Unjoined::Ambiguous); 2]);
        assert_eq!(unasked, 3);
    }
}

#[test]
fn copies_that_are_not_known_to_have_passed_one_queue_are_ambiguous() {
    let ambiguous = [Some(Unjoined::Ambiguous); 2];
    let (mut guests, others) = held_up(&[1_000, 201_000], &[500_000, 500_010]);
    guests[1].dev += 1;
    let (found, _) = answers(&guests, others, Queues::One, 2);
    assert_eq!(reasons(&found), ambiguous);
    // netback's thread took them in another order than they were queued for it.
    let (guests, mut others) = waiting_for_guest(&[500_000, 500_010], &[600_000, 600_002]);
    others[1].at[DOM0_XMIT] = others[0].at[DOM0_XMIT] - 1;
    let (found, _) = answers(&guests, others, Queues::One, 2);
    assert_eq!(reasons(&found), ambiguous);
}

/// Packets without an id, each received before the next is handed over: more than any connection sends of
/// one segment.
#[test]
fn of_a_crowd_of_copies_those_are_joined_before_which_the_ring_was_empty() {
    let times: Vec<u64> = (1..=1_000).map(|number| number * 100_000_000).collect();
    let received: Vec<u64> = times.iter().map(|at| at + 20_000).collect();
    let (guests, mut others) = waiting_for_guest(&times, &received);
    let (found, unasked) = answers(&guests, others.clone(), Queues::Several, 2);
    let expected: Vec<_> = times.iter().map(|at| Ok(*at)).collect();
    assert_eq!((at_dom0_of(&found), unasked), (expected, 0));
    // From a lost one on there is no telling, until there has been a pause.
    others.remove(500);
    for other in &mut others[700..] {
        other
            .at
            .iter_mut()
            .for_each(|at| *at += u64::from(*at != 0) * 5_000_000_000);
    }
    let mut guests = guests;
    for guest in &mut guests[701..] {
        guest
            .at
            .iter_mut()
            .for_each(|at| *at += u64::from(*at != 0) * 5_000_000_000);
    }
    let (found, _) = answers(&guests, others, Queues::One, 2);
    let joined: Vec<bool> = found.iter().map(|(_, found)| found.is_ok()).collect();
    assert!(joined[..400].iter().all(|is_joined| *is_joined));
    assert!(!joined[500]);
    assert!(joined[701..900].iter().all(|is_joined| *is_joined));
}

/// Waits on a ring of one queue, and what each packet's records are.
#[derive(Clone, Debug)]
struct Ring {
    guests: Vec<Record>,
    others: Vec<Record>,
}

/// Packets of a few ids, put on a ring and taken from it in order, however long each lies there. `tid` says
/// whose record it is. Either domain's clock is off within `error`.
fn ring(packets: &[(u32, u64, u64)], outward: bool, off: i64) -> Ring {
    let (mut put, mut taken_at) = (1_000_000, 0);
    let mut ring = Ring {
        guests: Vec::new(),
        others: Vec::new(),
    };
    for (index, (id, step, wait)) in packets.iter().enumerate() {
        put += step;
        taken_at = (put + wait).max(taken_at + 1);
        let (mut guest, mut other) = if outward {
            (sent(UDP, *id, put), passed_on(UDP, *id, taken_at - 24))
        } else {
            (taken(UDP, *id, taken_at - 18), handed(UDP, *id, put))
        };
        if outward {
            guest.at[TX_COMPLETE] = taken_at + 1_000;
        }
        for at in guest.at.iter_mut().filter(|at| **at != 0) {
            *at = at.saturating_add_signed(off);
        }
        guest.tid = u32::try_from(index).unwrap();
        other.tid = guest.tid;
        ring.guests.push(guest);
        ring.others.push(other);
    }
    ring.guests
        .sort_by_key(|guest| guest.at.iter().copied().max());
    ring.others
        .sort_by_key(|other| other.at.iter().copied().max());
    ring
}

fn any_packets() -> impl Strategy<Value = Vec<(u32, u64, u64)>> {
    // Waits of some nanoseconds, and of more than most packets are apart.
    let wait = prop_oneof![4 => 30u64..60, 1 => 30u64..600_000_000];
    let step = prop_oneof![4 => 1u64..300, 1 => 1u64..900_000_000, 1 => Just(3_000_000_000)];
    prop::collection::vec((0u32..3, step, wait), 1..150)
}

/// Those of which a share in 100 is lost.
fn lossy(records: Vec<Record>, lost: &[bool]) -> Vec<Record> {
    let kept = records.into_iter().zip(lost.iter().cycle());
    kept.filter(|(_, lost)| !**lost)
        .map(|(record, _)| record)
        .collect()
}

proptest! {
    /// Nothing is lost: what is joined is joined with its own record, and the order on the ring is kept.
    #[test]
    fn copies_are_joined_with_their_own_in_the_ring_s_order(
        packets in any_packets(),
        outward in any::<bool>(),
        off in -20i64..20,
    ) {
        let Ring { guests, others } = ring(&packets, outward, off);
        let (found, unasked) = answers(&guests, others, Queues::One, 20);
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (guest, found) in &found {
            if let Ok((other, _)) = found {
                prop_assert_eq!(guest.tid, other.tid);
                joined.push((at_guest(guest), at_dom0(other, !outward)));
            }
        }
        joined.sort_unstable();
        prop_assert!(joined.windows(2).all(|pair| pair[0].1 < pair[1].1));
        prop_assert_eq!(unasked, (packets.len() - joined.len()) as u64);
        // Too few for a crowd, and in too short a time.
        let time: u64 = packets.iter().map(|(_, step, _)| step).sum();
        if packets.len() <= 60 && time < 4_000_000_000 {
            prop_assert_eq!(joined.len(), packets.len());
        }
    }

    /// Whatever is lost on either side: every packet has one answer, no record is given twice, and none is
    /// taken before it was put on the ring by more than the clocks' error.
    #[test]
    fn every_packet_is_joined_or_counted_whatever_is_lost(
        packets in any_packets(),
        lost in prop::collection::vec(prop::bool::weighted(0.1), 1..50),
        lost_in_dom0 in prop::collection::vec(prop::bool::weighted(0.1), 1..50),
        outward in any::<bool>(),
        queues in prop::sample::select(&[Queues::One, Queues::Several][..]),
    ) {
        let Ring { guests, others } = ring(&packets, outward, 0);
        let (guests, others) = (lossy(guests, &lost), lossy(others, &lost_in_dom0));
        let seen = others.len();
        let (found, unasked) = answers(&guests, others, queues, 20);
        let mut given = std::collections::HashSet::new();
        for (guest, found) in &found {
            if let Ok((other, leeway)) = found {
                prop_assert!(given.insert(other.tid));
                prop_assert!(leeway.within(20));
                prop_assert_eq!((guest.key, guest.position), (other.key, other.position));
            }
        }
        prop_assert!(given.len() <= found.len());
        if !guests.is_empty() {
            let flows_seen = seen as u64;
            prop_assert_eq!(unasked, flows_seen - given.len() as u64);
        }
    }

    /// Records lost in one domain only: what is joined is joined with its own, but for crowds.
    #[test]
    fn copies_are_not_joined_with_another_s_record_where_one_domain_lost_some(
        packets in any_packets().prop_map(|mut packets| {
            packets.truncate(60);
            for (_, step, _) in &mut packets {
                *step = (*step).min(70_000_000);
            }
            packets
        }),
        lost in prop::collection::vec(prop::bool::weighted(0.1), 1..50),
        in_guest in any::<bool>(),
        outward in any::<bool>(),
    ) {
        let Ring { mut guests, mut others } = ring(&packets, outward, 0);
        if in_guest {
            guests = lossy(guests, &lost);
        } else {
            others = lossy(others, &lost);
        }
        let (found, _) = answers(&guests, others, Queues::One, 0);
        for (guest, found) in &found {
            if let Ok((other, _)) = found {
                prop_assert_eq!(guest.tid, other.tid);
            }
        }
    }
}
