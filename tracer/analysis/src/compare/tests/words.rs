//! What is said of a comparison, and where the ways of both sides differ.

use tracer_common::{point::Point, record::flag};

use super::{NATIVE, breakdown, breakdowns, compare, input, native, pair, span, vbd};
use crate::{
    compare::{Pair, Selection, Side, StageCompared, compare as compare_inputs},
    datapath::Component,
    document::DomainReport,
    span::{Span, taken::Taken},
};

#[test]
fn a_native_disk_and_a_vbd_are_compared_between_points_that_both_have() {
    let comparison = compare(vec![breakdown(&native())], breakdowns("B", &vbd()));
    let pair = &comparison.pairs[0];
    let names: Vec<String> = pair.stages.iter().map(StageCompared::name).collect();
    assert_eq!(
        names,
        [
            "blk.queue..blk.issue",
            "blk.issue..irq.entry",
            "blk.issue..blkfront.push",
            "blkfront.push..evtchn.upcall",
            "evtchn.upcall..irq.entry",
            "irq.entry..blk.complete",
        ]
    );
    let only: Vec<_> = pair.stages.iter().map(|stage| stage.only_in).collect();
    let (a, b) = (Some(Side::A), Some(Side::B));
    assert_eq!(only, [None, a, b, b, b, None]);
    assert_eq!(pair.stages[1].part.mean_ns.difference, Some(-100_000.0));
    assert_eq!(pair.stages[1].p50_ns.difference, None);
    let apart = pair
        .stretches
        .iter()
        .find(|stretch| !stretch.is_one_stage());
    let apart = apart.unwrap();
    assert_eq!((&*apart.from, &*apart.to), ("blk.issue", "irq.entry"));
    assert_eq!(apart.part.mean_ns.difference, Some(313_000.0));
    assert_eq!(pair.stretches.len(), 3);
    assert_eq!(
        pair.findings[0],
        "B takes 313 us longer a request (A 105 us, B 418 us: 3.98 times A's; medians A 105 us, B 418 us). 100% of that is between blk.issue and irq.entry, where A has device 100 us and B has backend 400 us, ring 8.00 us, event channel 5.00 us."
    );
}

#[test]
fn a_few_requests_that_leap_over_a_point_do_not_hide_it() {
    let mut a = native();
    let leaping = [NATIVE[0], NATIVE[1], NATIVE[3]];
    a.extend(vec![span("disk/native", 1, &leaping); 5]);
    let pair_of = |a: &[Span]| {
        compare(vec![breakdown(a)], breakdowns("B", &vbd()))
            .pairs
            .remove(0)
    };
    let stretches = |pair: &Pair| -> Vec<String> {
        let names = pair
            .stretches
            .iter()
            .map(|s| format!("{}..{}", s.from, s.to));
        names.collect()
    };
    assert_eq!(
        stretches(&pair_of(&a)),
        [
            "blk.queue..blk.issue",
            "blk.issue..irq.entry",
            "blk.issue..blk.complete",
            "irq.entry..blk.complete"
        ]
    );
    // Where many do, all ways from the point before to the one after are one.
    a.extend(vec![span("disk/native", 1, &leaping); 100]);
    assert_eq!(
        stretches(&pair_of(&a)),
        ["blk.queue..blk.issue", "blk.issue..blk.complete"]
    );
}

#[test]
fn what_speaks_against_believing_it_stands_first() {
    let mut small = span("disk/native", 1, &NATIVE[..3]);
    small.bytes = 512;
    let mut a = input(vec![breakdown(&vec![small; 99])]);
    let b = {
        let mut b = input(vec![breakdown(&native())]);
        b.report.partial = Some("interrupted".into());
        b
    };
    a.report.warnings.push("look out".into());
    a.report.domains.push(DomainReport {
        lost_share: 0.02,
        ..DomainReport::default()
    });
    let comparison = compare_inputs(&a, &b, &Selection::default()).unwrap();
    let starts = [
        "A: 2.0% of the requests were lost",
        "A: look out",
        "B is a partial run: interrupted",
        "disk read (sda): A has few requests (99)",
        "disk read (sda): A's requests are timed from blk.queue to irq.entry, B's from blk.queue to blk.complete",
        "disk read (sda): A lacks blk.complete: only the ways between points that both have are compared",
        "disk read (sda): A's requests are of 512 B on average, B's of 4.0 KiB",
    ];
    assert_eq!(
        comparison.warnings.len(),
        starts.len(),
        "{:?}",
        comparison.warnings
    );
    for (warning, start) in comparison.warnings.iter().zip(starts) {
        assert!(warning.starts_with(start), "{warning}");
    }
    assert!(comparison.a.lost_too_many && !comparison.b.lost_too_many);
}

#[test]
fn stages_that_do_not_add_up_are_told() {
    let mut damaged = breakdown(&native());
    damaged.stages.remove(1);
    let comparison = compare(vec![damaged], vec![breakdown(&native())]);
    let said = comparison
        .warnings
        .iter()
        .any(|w| w.contains("A's stages add up to 4.8% of its total"));
    assert!(said, "{:?}", comparison.warnings);
}

#[test]
fn what_differs_between_hosts_is_told_once() {
    let (mut a, mut b) = (
        input(vec![breakdown(&native())]),
        input(vec![breakdown(&native())]),
    );
    a.report.host.kernel = "6.1".into();
    b.report.host.kernel = "6.12".into();
    a.report.host.command_line = "quiet root=x".into();
    b.report.host.command_line = "root=x mitigations=off".into();
    b.report.host.xen_role = "dom0".into();
    for side in [&mut a, &mut b] {
        side.report.domains.push(DomainReport {
            name: "native".into(),
            host: side.report.host.clone(),
            ..DomainReport::default()
        });
    }
    let comparison = compare_inputs(&a, &b, &Selection::default()).unwrap();
    let differences: Vec<(&str, &str, &str)> = comparison
        .differences
        .iter()
        .map(|difference| (&*difference.what, &*difference.a, &*difference.b))
        .collect();
    assert_eq!(
        differences,
        [
            ("kernel", "6.1", "6.12"),
            ("Xen role", "", "dom0"),
            ("kernel command line", "quiet", "mitigations=off"),
        ]
    );
}

fn of_iterations(a: &[u64], b: &[u64]) -> String {
    let side = |means: &[u64]| -> Vec<Span> {
        let spans = means.iter().enumerate().map(|(iteration, mean)| Span {
            iteration: u32::try_from(iteration).unwrap(),
            ..span(
                "disk/native",
                1,
                &[(Point::BlkQueue, 0), (Point::BlkIssue, *mean)],
            )
        });
        spans.collect()
    };
    pair(&side(a), &side(b)).findings.pop().unwrap()
}

#[test]
fn iterations_say_whether_it_may_be_chance() {
    let text = of_iterations(&[100, 120, 110], &[115, 190]);
    assert!(text.contains("overlap (A 100 ns to 120 ns in 3, B 115 ns to 190 ns in 2): the difference may be chance"), "{text}");
    // 10 over 5 is 252.
    let text = of_iterations(&[101, 102, 103, 104, 105], &[111, 112, 113, 114, 115]);
    assert!(text.ends_with(": chance does that once in 126."), "{text}");
    let text = of_iterations(&[1, 2], &[11, 12]);
    assert!(
        text.ends_with("too few to tell, chance does that once in 3."),
        "{text}"
    );
    let text = of_iterations(&[1], &[11]);
    assert!(text.ends_with("one each says nothing of chance."), "{text}");
}

#[test]
fn what_is_timed_further_on_one_side_is_compared_where_both_are() {
    let woken = [&NATIVE[..], &[(Point::SchedSwitch, 70_000)]].concat();
    let woken = vec![span("disk/native", 1, &woken); 200];
    let pair = compare(vec![breakdown(&woken)], breakdowns("B", &vbd()))
        .pairs
        .remove(0);
    assert_eq!(
        pair.findings,
        [
            "From blk.queue to blk.complete, where both are timed, B takes 313 us longer a request (A 105 us, B 418 us: 3.98 times A's). 100% of that is between blk.issue and irq.entry, where A has device 100 us and B has backend 400 us, ring 8.00 us, event channel 5.00 us.",
            "The totals are not of the same way, and not compared: 100.0% of A's requests end at sched.switch, 0.0% of B's.",
            "The iterations' means do not overlap (A 105 us to 105 us in 1, B 418 us to 418 us in 1): one each says nothing of chance.",
        ]
    );
    assert_eq!(pair.total.mean_ns.difference, None);
    assert!(
        pair.lacking.is_empty(),
        "two datapaths have points of their own"
    );
}

#[test]
fn a_lost_probe_makes_no_side_faster() {
    let woken = [
        &NATIVE[..],
        &[(Point::SchedWaking, 5_000), (Point::SchedSwitch, 70_000)],
    ]
    .concat();
    let whole = vec![span("disk/native", 1, &woken); 200];
    let comparison = compare(vec![breakdown(&whole)], vec![breakdown(&native())]);
    let pair = &comparison.pairs[0];
    let lacking: Vec<(Side, &str)> = pair
        .lacking
        .iter()
        .map(|lacking| (lacking.side, &*lacking.lack.point))
        .collect();
    assert_eq!(
        lacking,
        [(Side::B, "sched.waking"), (Side::B, "sched.switch")]
    );
    let way = pair.way.as_ref().unwrap();
    assert_eq!((&*way.from, &*way.to), ("blk.queue", "blk.complete"));
    assert_eq!(way.mean_ns.difference, Some(0.0));
    assert_eq!(
        pair.findings[0],
        "From blk.queue to blk.complete, where both are timed, the mean of a request is the same, within 1% (A 105 us, B 105 us)."
    );
    for stage in pair.stages.iter().filter(|stage| stage.only_in.is_some()) {
        let mean = &stage.part.mean_ns;
        assert_eq!((mean.b, mean.difference, mean.ratio), (None, None, None));
    }
    assert!(
        comparison.warnings.iter().any(|warning| warning.ends_with(
            "B lacks sched.waking, sched.switch: only the ways between points that both have are compared"
        )),
        "{:?}",
        comparison.warnings
    );
}

#[test]
fn a_reader_that_was_awake_is_told_as_one_that_is_woken() {
    let woken = [
        &NATIVE[..],
        &[(Point::SchedWaking, 5_000), (Point::SchedSwitch, 70_000)],
    ]
    .concat();
    let ended_at = |points: usize, flags| Span {
        flags,
        ..span("disk/native", 1, &woken[..points])
    };
    let all = vec![span("disk/native", 1, &woken); 200];
    // About to sleep, or not yet.
    for (points, saved) in [(5, -35_000.0), (4, -37_500.0)] {
        let own = vec![ended_at(points, flag::READER_AWAKE); 100];
        let pair = pair(&all, &[own, all[..100].to_vec()].concat());
        assert!(pair.way.unwrap().is_total && pair.lacking.is_empty());
        assert_eq!(pair.total.mean_ns.difference, Some(saved));
    }
    // Of one that is not said to be awake the waking is not known.
    let own = vec![ended_at(4, 0); 100];
    let pair = pair(&all, &[own, all[..100].to_vec()].concat());
    assert!(!pair.way.unwrap().is_total && pair.total.mean_ns.difference.is_none());
}

/// Reads of a guest's disk, some time of each stolen; `told`: of 200, how many told the backend of themselves by an
/// interrupt, which finds a thread that sleeps.
fn reads(told: usize, waits_ns: u64) -> Vec<Span> {
    let read = |by_interrupt: bool| {
        let mut steps = vec![(Point::BlkQueue, 0), (Point::BlkfrontPush, 9_000)];
        if by_interrupt {
            steps.extend([(Point::Dom0Upcall, 7_000), (Point::BlkbackInterrupt, 2_000)]);
        }
        steps.extend([(Point::BlkbackRun, waits_ns), (Point::BlkComplete, 50_000)]);
        Span {
            taken: Taken {
                stolen: vec![(0, 500)],
                ..Taken::default()
            },
            ..span("disk/vbd", 1, &steps)
        }
    };
    [vec![read(true); told], vec![read(false); 200 - told]].concat()
}

#[test]
fn a_backend_that_is_awake_more_often_has_lost_no_point() {
    let slowed = pair(&reads(198, 10_000), &reads(170, 900_000));
    assert!(slowed.way.as_ref().unwrap().is_total);
    let lacked: Vec<&str> = slowed.lacking.iter().map(|own| &*own.lack.point).collect();
    assert_eq!(lacked, ["dom0.upcall", "blkback.interrupt"]);
    let blames = |pair: &Pair| pair.findings[0].contains("between blkfront.push and blkback.run");
    assert!(blames(&slowed), "{:?}", slowed.findings);
    // Without any, whose time it was that others took is not known.
    let lost = pair(&reads(198, 10_000), &reads(0, 900_000));
    assert!(!blames(&lost), "{:?}", lost.findings);
}

#[test]
fn a_stage_of_one_request_leaves_its_component_comparable() {
    let rare = pair(&reads(200, 10_000), &reads(199, 900_000));
    let stage = |pair: &Pair| {
        let mut stages = pair.stages.iter();
        let is_it = |stage: &&StageCompared| stage.name() == "blkfront.push..blkback.run";
        stages.find(is_it).unwrap().part.mean_ns.difference
    };
    let waiting = |pair: &Pair| {
        let mut components = pair.components.iter();
        let part = components.find(|part| part.component == Component::Dom0Scheduling);
        part.unwrap().part.mean_ns.difference
    };
    assert_eq!((stage(&rare), waiting(&rare)), (None, Some(890_000.0)));
    let many = pair(&reads(200, 10_000), &reads(180, 900_000));
    assert_eq!((stage(&many), waiting(&many)), (None, None));
}

/// Received packets: `dequeued`, whether they pass a queueing discipline; `notified`, whether that is traced; `unread`, how
/// many of 200 nobody reads. Of each some time was stolen.
fn received(queue_ns: u64, dequeued: bool, notified: bool, unread: usize) -> Vec<Span> {
    let mut steps = vec![(Point::Dom0Queue, 0)];
    if dequeued {
        steps.push((Point::Dom0Dequeue, queue_ns));
    }
    steps.push((Point::Dom0Xmit, if dequeued { 1_000 } else { queue_ns }));
    steps.push((Point::NetbackDequeue, 40_000));
    if notified {
        steps.push((Point::NetbackNotify, 5_000));
    }
    steps.extend([
        (Point::EvtchnUpcall, 80_000),
        (Point::IrqEntry, 20_000),
        (Point::SockReady, 70_000),
        (Point::SchedWaking, 5_000),
        (Point::SchedSwitch, 50_000),
    ]);
    let packet = |steps: &[(Point, u64)]| Span {
        taken: Taken {
            stolen: vec![(1, 500)],
            ..Taken::default()
        },
        ..span("net-rx/vif", 1, steps)
    };
    let read = packet(&steps);
    let not_read = packet(&steps[..steps.len() - 2]);
    [vec![read; 200 - unread], vec![not_read; unread]].concat()
}

#[test]
fn a_point_that_moves_no_stolen_time_leaves_the_way_comparable() {
    let slow = received(50_000_000, true, true, 80);
    let slowed = pair(&received(9_000, false, true, 0), &slow);
    assert!(
        slowed.findings[0].contains("100% of that is between dom0.queue and dom0.xmit"),
        "{:?}",
        slowed.findings
    );
    let way = slowed.way.unwrap();
    assert_eq!((&*way.from, &*way.to), ("dom0.queue", "sock.ready"));
    // Up to the notification it is Dom0's CPU that can be stolen, from there on the guest's.
    let blind = pair(&received(9_000, false, false, 0), &slow);
    assert_eq!(blind.way, None);
    assert!(
        blind.findings[0].starts_with("Nothing is compared"),
        "{:?}",
        blind.findings
    );
}
