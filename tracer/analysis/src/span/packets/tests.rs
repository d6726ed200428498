use proptest::prelude::*;
use tracer_common::record::{MAX_POINTS, addresses, flow};

use super::*;
use crate::datapath::datapath;

mod copies;

const TCP: u8 = 6;
const UDP: u8 = 17;

fn stamped(kind: Kind, op: u8, number: u32, points: &[(Point, u64)]) -> Record {
    let mut record = Record {
        kind: kind as u8,
        op,
        key: addresses::pack(0x0a4d_0016, 0x0a4d_0001),
        position: flow::pack(40_000, 5201, number),
        bytes: 1000,
        ..Record::EMPTY
    };
    for (point, at) in points {
        let place = kind.points().iter().position(|other| other == point);
        record.at[place.unwrap()] = *at;
    }
    record
}

/// A packet that leaves its guest at `at`: sent, told, answered.
fn sent(op: u8, number: u32, at: u64) -> Record {
    use Point::*;
    let points = [
        (SockSend, at - 20),
        (NetQueue, at - 10),
        (NetXmit, at),
        (NetfrontNotify, at + 4),
        (NetXmitDone, at + 6),
        (EvtchnUpcall, at + 60),
        (IrqEntry, at + 62),
        (SoftirqEntry, at + 64),
        (NetTxComplete, at + 66),
    ];
    stamped(Kind::NetTx, op, number, &points)
}

/// What Dom0 sees of it.
fn passed_on(op: u8, number: u32, at: u64) -> Record {
    use Point::*;
    let points = [
        (Dom0Upcall, at + 10),
        (Dom0Irq, at + 12),
        (Dom0Softirq, at + 14),
        (Dom0Poll, at + 16),
        (NetbackConsume, at + 18),
        (Dom0Receive, at + 24),
        (Dom0Queue, at + 26),
        (Dom0Xmit, at + 30),
        (Dom0XmitDone, at + 34),
        (Dom0TxComplete, at + 50),
    ];
    stamped(Kind::NetForward, op, number, &points)
}

/// A packet that Dom0 hands to its guest at `at`, as Dom0 sees it.
fn handed(op: u8, number: u32, at: u64) -> Record {
    use Point::*;
    let points = [
        (Dom0Irq, at - 40),
        (Dom0Softirq, at - 36),
        (Dom0Poll, at - 34),
        (Dom0Gro, at - 30),
        (Dom0Receive, at - 28),
        (Dom0Queue, at - 24),
        (Dom0Xmit, at - 20),
        (Dom0XmitDone, at - 16),
        (NetbackDequeue, at),
        (NetbackNotify, at + 4),
        (Dom0TxComplete, at + 5),
    ];
    stamped(Kind::NetForward, op, number, &points)
}

/// As its guest sees it.
fn taken(op: u8, number: u32, at: u64) -> Record {
    use Point::*;
    let points = [
        (EvtchnUpcall, at + 10),
        (IrqEntry, at + 12),
        (SoftirqEntry, at + 14),
        (NapiPoll, at + 16),
        (NapiGroReceive, at + 18),
        (NetifReceive, at + 20),
        (SockReady, at + 22),
        (SchedWaking, at + 23),
        (SchedSwitch, at + 30),
    ];
    stamped(Kind::NetRx, op, number, &points)
}

/// What becomes of a guest's packets, in the order in which they were asked for, and how many packets of
/// their flows only Dom0 has seen.
fn answers(
    guests: &[Record],
    others: Vec<Record>,
    queues: Queues,
    error: i64,
) -> (Vec<Answer>, u64) {
    let mut forwarded = Forwarded::new(others.into_iter(), |_| true, queues, error);
    let mut answers: Vec<Answer> = Vec::new();
    for guest in guests {
        answers.extend(forwarded.ask(*guest));
    }
    answers.extend(forwarded.rest());
    assert_eq!(answers.len(), guests.len());
    let place = |answer: &Answer| guests.iter().position(|guest| *guest == answer.0);
    answers.sort_by_key(place);
    (answers, forwarded.unasked())
}

/// Why each packet was not joined; `None`: it was.
fn reasons(answers: &[Answer]) -> Vec<Option<Unjoined>> {
    let reasons = answers.iter().map(|(_, found)| found.err());
    reasons.collect()
}

fn names(span: &Span) -> Vec<&'static str> {
    span.points.iter().map(|(point, _)| point.name()).collect()
}

#[test]
fn sent_packet_goes_through_dom0_and_is_answered() {
    let (guest, other) = (sent(TCP, 1, 1000), passed_on(TCP, 1, 1000));
    let span = join("net-tx/vif", 0, &guest, &other, 0).unwrap();
    assert_eq!(
        names(&span).join(" "),
        "sock.send net.queue net.xmit netfront.notify dom0.upcall dom0.irq.entry dom0.softirq.entry \
         dom0.poll netback.consume dom0.receive dom0.queue dom0.xmit dom0.xmit_done dom0.tx_complete \
         evtchn.upcall irq.entry softirq.entry net.tx_complete"
    );
    assert_eq!(span.total_ns(), 86);
}

#[test]
fn answer_that_comes_while_dom0_is_at_work_is_not_on_the_way() {
    let (mut guest, other) = (sent(TCP, 1, 1000), passed_on(TCP, 1, 1000));
    for at in guest.at.iter_mut().filter(|at| **at >= 1060) {
        *at -= 25;
    }
    let span = join("net-tx/vif", 0, &guest, &other, 0).unwrap();
    assert_eq!(span.points.last().unwrap(), &(Point::Dom0TxComplete, 1050));
}

#[test]
fn packet_that_netback_finds_by_itself_needs_no_notification() {
    use Point::*;
    let mut guest = sent(TCP, 1, 1000);
    guest.at[NOTIFY] = 0;
    let other = [
        (Dom0Poll, 800),
        (NetbackConsume, 900),
        (Dom0Receive, 1003),
        (Dom0XmitDone, 1009),
    ];
    let other = stamped(Kind::NetForward, TCP, 1, &other);
    let span = join("net-tx/vif", 0, &guest, &other, 0).unwrap();
    assert_eq!(
        names(&span)[2..5],
        ["net.xmit", "dom0.receive", "dom0.xmit_done"]
    );
}

#[test]
fn clocks_that_are_off_within_their_error_break_no_span() {
    let (guest, received) = (sent(TCP, 1, 1000), taken(TCP, 1, 1000));
    for early in (0..100).step_by(5) {
        let other = passed_on(TCP, 1, 1000 - early);
        let span = join("net-tx/vif", 0, &guest, &other, 100).unwrap();
        assert_eq!(span.points[0], (Point::SockSend, 980), "{early}");
        let other = handed(TCP, 1, 1000 + early);
        assert!(
            join("net-rx/vif", 0, &received, &other, 100).is_ok(),
            "{early}"
        );
    }
}

#[test]
fn received_packet_goes_through_dom0_to_its_reader() {
    let (other, mut guest) = (handed(UDP, 1, 1000), taken(UDP, 1, 1000));
    let span = join("net-rx/vif", 0, &guest, &other, 0).unwrap();
    assert_eq!(
        names(&span)[8..12],
        [
            "netback.dequeue",
            "netback.notify",
            "evtchn.upcall",
            "irq.entry"
        ]
    );
    assert_eq!(span.total_ns(), 70);
    // A guest that was at its ring anyway.
    for at in &mut guest.at[..5] {
        *at = at.saturating_sub(100);
    }
    guest.at[GRO] = 1002;
    let span = join("net-rx/vif", 0, &guest, &other, 0).unwrap();
    assert_eq!(names(&span)[8..10], ["netback.dequeue", "napi.gro_receive"]);
}

#[test]
fn retransmission_is_told_from_the_first_time_by_causality() {
    let times = [1_000, 5_000, 9_000];
    let others = times.map(|at| passed_on(TCP, 7, at)).to_vec();
    let guests = times.map(|at| sent(TCP, 7, at));
    let (answers, unasked) = answers(&guests, others, Queues::Several, 2);
    for ((_, found), at) in answers.into_iter().zip(times) {
        assert_eq!(found.unwrap().0.at[DOM0_RECEIVE], at + 24);
    }
    assert_eq!(unasked, 0);
}

#[test]
fn what_cannot_be_told_apart_is_not_guessed() {
    let others = vec![handed(UDP, 0, 1000), handed(UDP, 0, 1003)];
    let late = 1000 + ON_RING_NS.unsigned_abs() + 10_000;
    let mut guests = [1003, 1003, 1003, 1003, 900, late].map(|at| taken(UDP, 0, at));
    guests[1].position = flow::pack(40_000, 5201, 1);
    guests[2].key += 1;
    guests[3].bytes += 1;
    let (answers, unasked) = answers(&guests, others, Queues::One, 0);
    let expected = [
        Unjoined::Ambiguous,
        Unjoined::Unseen,
        // Another host.
        Unjoined::Unseen,
        Unjoined::Resized,
        // Before Dom0 had it, and long after.
        Unjoined::Unseen,
        Unjoined::Unseen,
    ];
    assert_eq!(reasons(&answers), expected.map(Some));
    assert_eq!(unasked, 2);
}

#[test]
fn packets_that_only_dom0_saw_are_counted_for_the_guest_s_own_flows() {
    let mut others = handed(TCP, 3, 1020);
    others.position = flow::pack(1, 2, 3);
    let others = vec![handed(TCP, 1, 1000), handed(TCP, 2, 1010), others];
    let (answers, unasked) = answers(&[taken(TCP, 1, 1000)], others, Queues::Several, 0);
    assert_eq!((reasons(&answers), unasked), (vec![None], 1));
}

proptest! {
    /// Whatever ids come again, in whatever order records are written: a packet is joined with its own
    /// record or with none.
    #[test]
    fn no_packet_is_joined_with_another_s_record(
        steps in prop::collection::vec((0u32..4, 1u64..300, any::<bool>()), 1..40),
        error in 0i64..20,
        outward in any::<bool>(),
    ) {
        let mut at = 10_000;
        let packets: Vec<(u32, u64, bool)> = steps.into_iter().map(|(id, step, swapped)| {
            at += step;
            (id, at, swapped)
        }).collect();
        let records = packets.iter().map(|(id, at, _)| {
            if outward { passed_on(UDP, *id, *at) } else { handed(UDP, *id, *at) }
        });
        let mut records: Vec<Record> = records.collect();
        for (index, packet) in packets.iter().enumerate().skip(1) {
            if packet.2 {
                records.swap(index - 1, index);
            }
        }
        let guests = packets.iter().map(|(id, at, _)| {
            if outward { sent(UDP, *id, *at) } else { taken(UDP, *id, *at) }
        });
        let guests: Vec<Record> = guests.collect();
        let (answers, unasked) = answers(&guests, records, Queues::Several, error);
        let mut joined = 0;
        for ((guest, found), (_, at, _)) in answers.iter().zip(&packets) {
            if let Ok((other, _)) = found {
                let own = if outward { other.at[DOM0_RECEIVE] - 24 } else { other.at[DEQUEUE] };
                prop_assert_eq!(own, *at);
                let name = if outward { "net-tx/vif" } else { "net-rx/vif" };
                prop_assert!(join(name, 0, guest, other, error.unsigned_abs()).is_ok());
                joined += 1;
            }
        }
        prop_assert_eq!(unasked, packets.len() as u64 - joined);
    }

    /// Any stamps: the span's points are in the datapath's order, and its stages add up to its total.
    #[test]
    fn stages_add_up_to_the_nanosecond(
        at in prop::array::uniform16(prop_oneof![1 => Just(0u64), 4 => 1u64..2000]),
        other_at in prop::array::uniform16(prop_oneof![1 => Just(0u64), 4 => 1u64..2000]),
        sorted in any::<bool>(),
        outward in any::<bool>(),
        error in 0u64..50,
    ) {
        let fill = |kind: Kind, at: &[u64; MAX_POINTS]| {
            let mut record = Record { kind: kind as u8, ..Record::EMPTY };
            let count = kind.points().len();
            record.at[..count].copy_from_slice(&at[..count]);
            if sorted {
                record.at[..count].sort_unstable();
            }
            record
        };
        let (kind, name) = if outward {
            (Kind::NetTx, "net-tx/vif")
        } else {
            (Kind::NetRx, "net-rx/vif")
        };
        let (guest, other) = (fill(kind, &at), fill(Kind::NetForward, &other_at));
        if let Ok(span) = join(name, 0, &guest, &other, error) {
            prop_assert_eq!(span.stages().map(|(_, _, time)| time).sum::<u64>(), span.total_ns());
            let order = datapath(name).unwrap().points();
            let places: Vec<usize> = span.points.iter().map(|(point, _)| {
                order.iter().position(|other| other == point).unwrap()
            }).collect();
            prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", names(&span));
        }
    }
}
