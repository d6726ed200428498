//! Real recordings of a guest's reads, and of its packets, through both kernels (made in the lab), analysed
//! again: as they are, and with one domain's clock changed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;
use tracer_analysis::{
    Breakdown, Report, document::DomainReport, recording::directory::RunDirectory, replay::analyse,
};
use tracer_common::record::Record;

/// The recording's guest.
const GUEST: &str = "B";

/// The report of the recording of the guest's reads after `change`.
fn report(change: impl FnOnce(&Path)) -> Report {
    report_of("disk-vbd", change)
}

/// That of a recording of this name.
fn report_of(name: &str, change: impl FnOnce(&Path)) -> Report {
    let recordings = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings");
    let folder = TempDir::new().unwrap();
    for entry in fs::read_dir(Path::new(recordings).join(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    change(folder.path());
    analyse(&RunDirectory::open(folder.path()).unwrap()).unwrap()
}

fn guest(report: &Report) -> &DomainReport {
    let mut domains = report.domains.iter();
    domains.find(|domain| domain.name == GUEST).unwrap()
}

/// Changes what the guest has said of its clock: `(TSC, CLOCK_MONOTONIC)` of each pair; and the moments of
/// its load.
fn change_clock(folder: &Path, tsc: impl Fn(u64) -> Option<u64>, ns: impl Fn(u64) -> u64) {
    let pair = |clock: &mut Value| {
        let (Some(ticks), Some(time)) = (clock["tsc"].as_u64(), clock["monotonic_ns"].as_u64())
        else {
            return;
        };
        match tsc(ticks) {
            Some(ticks) => {
                clock["tsc"] = ticks.into();
                clock["monotonic_ns"] = ns(time).into();
            }
            None => *clock = Value::Null,
        }
    };
    let start = folder.join(format!("{GUEST}-start.json"));
    let mut value: Value = serde_json::from_slice(&fs::read(&start).unwrap()).unwrap();
    pair(&mut value["hello"]["clock"]);
    fs::write(&start, value.to_string()).unwrap();
    change_iterations(folder, |value| {
        for moment in ["start_monotonic_ns", "end_monotonic_ns"] {
            value["load"][moment] = ns(value["load"][moment].as_u64().unwrap()).into();
        }
        for snapshot in ["before", "after"] {
            let snapshot = &mut value["windows"][GUEST][snapshot];
            pair(&mut snapshot["clock"]);
            let clocks = snapshot["clocks"].as_array_mut().unwrap();
            clocks.iter_mut().for_each(&pair);
            clocks.retain(|clock| !clock.is_null());
        }
    });
}

/// Changes each of the run's iterations.
fn change_iterations(folder: &Path, change: impl Fn(&mut Value)) {
    let iterations = folder.join("iterations.jsonl");
    let mut lines = String::new();
    for line in fs::read_to_string(&iterations).unwrap().lines() {
        let mut value: Value = serde_json::from_str(line).unwrap();
        change(&mut value);
        lines += &format!("{value}\n");
    }
    fs::write(&iterations, lines).unwrap();
}

/// Says of all of the guest's interrupts that no event channel brings them.
fn make_interrupts_native(folder: &Path) {
    change_iterations(folder, |value| {
        let after = &mut value["windows"][GUEST]["after"];
        let numbers = after["irqs"].as_array().unwrap().iter();
        let numbers: Vec<Value> = numbers.map(|irq| irq["irq"].clone()).collect();
        after["native_irqs"] = numbers.into();
    });
}

/// Points of the guest's received packets.
fn points(report: &Report) -> BTreeSet<String> {
    let mut breakdowns = report.breakdowns.iter();
    let found = breakdowns.find(|breakdown| breakdown.datapath == "net-rx/vif");
    let stages = found.unwrap().stages.iter();
    stages
        .flat_map(|stage| [stage.from.clone(), stage.to.clone()])
        .collect()
}

#[test]
fn interrupts_that_no_event_channel_brings_have_no_upcall() {
    let with = points(&report_of("nic-vif", |_| ()));
    let without = points(&report_of("nic-vif", make_interrupts_native));
    let lost: Vec<&String> = with.difference(&without).collect();
    assert_eq!(lost, ["evtchn.upcall"]);
    assert!(without.is_subset(&with));
    assert!(with.contains("dom0.upcall"));
}

/// Changes each of the guest's records.
fn change_records(folder: &Path, change: impl Fn(&mut Record)) {
    let path = folder.join(format!("{GUEST}-records.bin"));
    let bytes = fs::read(&path).unwrap();
    let (mut rest, mut changed) = (&bytes[..], Vec::new());
    while let Some((mut record, length)) = Record::decode(rest) {
        change(&mut record);
        record.encode(|piece| changed.extend_from_slice(piece));
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    fs::write(&path, changed).unwrap();
}

fn shift(record: &mut Record, by: impl Fn(u64) -> u64) {
    for at in record.at.iter_mut().filter(|at| **at != 0) {
        *at = by(*at);
    }
}

fn assert_whole(breakdown: &Breakdown) {
    let stages: u64 = breakdown.stages.iter().map(|s| s.figures.sum_ns).sum();
    assert_eq!(stages, breakdown.total.sum_ns, "to the nanosecond");
    let components: u64 = breakdown.components.iter().map(|c| c.sum_ns).sum();
    assert_eq!(components, breakdown.total.sum_ns);
    let variance: f64 = breakdown
        .stages
        .iter()
        .map(|s| s.figures.share_of_variance)
        .sum();
    assert!((variance - 1.0).abs() < 1e-6, "{variance}");
}

fn means(breakdown: &Breakdown) -> Vec<(String, f64)> {
    let stages = breakdown.stages.iter();
    stages
        .map(|stage| (stage.name(), stage.figures.mean_ns))
        .collect()
}

#[test]
fn every_request_is_followed_through_both_kernels() {
    let report = report(|_| {});
    let guest = guest(&report);
    let join = guest.join.as_ref().unwrap();
    assert_eq!((join.joined, join.unjoined.len()), (200, 0), "{join:?}");
    assert_eq!(
        (guest.clock.method.as_str(), guest.clock.violations),
        ("TSC", 0)
    );
    assert!(guest.clock.error_ns.unwrap() < 1000.0, "{:?}", guest.clock);
    let [breakdown] = &report.breakdowns[..] else {
        panic!("{:?}", report.breakdowns);
    };
    assert_whole(breakdown);
    let passed = |point: &str| {
        let stages = breakdown.stages.iter().filter(|stage| stage.to == point);
        stages.map(|stage| stage.figures.count).sum::<u64>()
    };
    for point in [
        "blkfront.push",
        "blkback.consume",
        "dom0.issue",
        "dom0.complete",
    ] {
        assert!(passed(point) >= 198, "{point}: {}", passed(point));
    }
    for point in ["blkback.response", "blk.complete"] {
        assert_eq!(passed(point), 200, "{point}");
    }
    // Both ways over the event channel, and nothing else, carry the clocks' error.
    let crossing = breakdown
        .stages
        .iter()
        .filter(|stage| stage.error_ns.is_some());
    let crossing: Vec<String> = crossing.map(|stage| stage.name()).collect();
    assert!(
        crossing.contains(&"blkfront.push..dom0.upcall".into()),
        "{crossing:?}"
    );
    assert!(
        crossing.contains(&"blkback.response..evtchn.upcall".into()),
        "{crossing:?}"
    );
}

#[test]
fn another_clock_on_the_same_counter_changes_nothing() {
    let later = |ns: u64| ns + 5_000_000_000;
    let shifted = report(|folder| {
        change_clock(folder, Some, later);
        change_records(folder, |record| shift(record, later));
    });
    let (before, after) = (
        means(&report(|_| {}).breakdowns[0]),
        means(&shifted.breakdowns[0]),
    );
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        let same = before.0 == after.0 && (before.1 - after.1).abs() <= 2.0;
        assert!(same, "{before:?} {after:?}");
    }
}

/// Where the counter is not shared, the distance that causality finds is right within its own bound.
#[test]
fn counters_that_are_not_the_same_are_noticed_and_causality_takes_over() {
    // The run's timeline is the backend's clock.
    let ticks_per_ns = report(|_| {}).domains[0].clock.ticks_per_ns.unwrap();
    for shift_ns in [3_000_000_000i64, -40_000_000_000, 90_000_000] {
        let ticks = (shift_ns as f64 * ticks_per_ns) as i64;
        let report = report(|folder| {
            change_clock(folder, |tsc| tsc.checked_add_signed(ticks), |ns| ns);
        });
        let guest = guest(&report);
        let clock = &guest.clock;
        assert_eq!(clock.method, "causality", "{clock:?}");
        let off = (clock.offset_ns.unwrap() + shift_ns).unsigned_abs() as f64;
        assert!(
            off <= clock.error_ns.unwrap() + 1000.0,
            "{shift_ns}: {clock:?}"
        );
        assert_eq!(
            (guest.join.as_ref().unwrap().joined, clock.violations),
            (200, 0)
        );
        assert_whole(&report.breakdowns[0]);
    }
}

#[test]
fn without_counters_causality_alone_ties_the_clocks() {
    let report = report(|folder| change_clock(folder, |_| None, |ns| ns));
    let guest = guest(&report);
    assert_eq!(guest.clock.method, "causality");
    assert_eq!(guest.join.as_ref().unwrap().joined, 200, "{:?}", guest.join);
}

#[test]
fn what_the_guest_makes_up_is_not_joined() {
    let report = report(|folder| {
        change_records(folder, |record| {
            record.position = record.position.wrapping_mul(3) + 1;
        });
    });
    let guest = guest(&report);
    let unseen = guest.join.as_ref().unwrap().unjoined["not seen by the backend"];
    assert_eq!((unseen, guest.spans, guest.lost_share), (200, 0, 1.0));
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.contains("were lost")),
        "{:?}",
        report.warnings
    );
}

/// The recording of packets: requests of one byte and their responses, from the guest.
const PACKETS: &str = "nic-vif";

fn assert_packets_are_followed(report: &Report) -> u64 {
    let join = guest(report).join.as_ref().unwrap();
    let unjoined: u64 = join.unjoined.values().sum();
    assert!(join.joined >= 99 * unjoined.max(1), "{join:?}");
    report.breakdowns.iter().for_each(assert_whole);
    join.joined
}

#[test]
fn packets_are_followed_through_both_kernels_both_ways() {
    let report = report_of(PACKETS, |_| {});
    assert_packets_are_followed(&report);
    let clock = &guest(&report).clock;
    assert_eq!((clock.method.as_str(), clock.violations), ("TSC", 0));
    let of = |datapath: &str| {
        let mut breakdowns = report.breakdowns.iter();
        breakdowns.find(|b| b.datapath == datapath).unwrap()
    };
    for (datapath, points) in [
        (
            "net-tx/vif",
            ["dom0.receive", "dom0.queue", "dom0.xmit_done"],
        ),
        (
            "net-rx/vif",
            ["dom0.receive", "netback.dequeue", "sock.ready"],
        ),
    ] {
        let breakdown = of(datapath);
        for point in points {
            let stages = breakdown.stages.iter().filter(|stage| stage.to == point);
            let passed: u64 = stages.map(|stage| stage.figures.count).sum();
            assert_eq!(passed, breakdown.total.count, "{datapath}: {point}");
        }
        let crossing = breakdown.stages.iter().filter(|s| s.error_ns.is_some());
        assert!(crossing.count() >= 1, "{datapath}");
    }
}

#[test]
fn packets_alone_tie_clocks_without_counters() {
    let joined = assert_packets_are_followed(&report_of(PACKETS, |_| {}));
    let report = report_of(PACKETS, |folder| change_clock(folder, |_| None, |ns| ns));
    assert_eq!(guest(&report).clock.method, "causality");
    assert_eq!(assert_packets_are_followed(&report), joined);
}

#[test]
fn packets_of_other_hosts_are_not_joined() {
    let report = report_of(PACKETS, |folder| {
        change_records(folder, |record| record.key = record.key.rotate_left(1));
    });
    let guest = guest(&report);
    assert_eq!(guest.join.as_ref().unwrap().joined, 0);
    assert!((guest.lost_share - 1.0).abs() < 1e-9, "{guest:?}");
}

#[test]
fn a_probe_that_the_kernel_refused_is_the_first_warning() {
    let refused = |point: &str, role: &str| {
        serde_json::json!({
            "role": role, "point": point, "required": false,
            "why": ["kernel refused tp_btf sched_waking: EACCES"]
        })
    };
    let report = report(|folder| {
        let start = folder.join(format!("{GUEST}-start.json"));
        let mut value: Value = serde_json::from_slice(&fs::read(&start).unwrap()).unwrap();
        let bindings = value["bindings"]["planned"].as_array_mut().unwrap();
        bindings.retain(|binding| binding["point"] != "sched.waking");
        // Of two probes of one point the other one is there.
        value["bindings"]["unavailable"] = serde_json::json!([
            refused("evtchn.upcall", "x"),
            refused("sched.waking", "task woken")
        ]);
        fs::write(&start, value.to_string()).unwrap();
    });
    assert_eq!(
        report.warnings,
        ["B: sched.waking is not traced (task woken): kernel refused tp_btf sched_waking: EACCES"]
    );
}
