//! A probe that a kernel refuses takes a point out of every request. Each point of real recordings is taken away in
//! turn, from the baseline's runs or from the new ones: no check may take that for a faster kernel, nor pass by it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tracer_analysis::{
    Report,
    check::{Check, CheckedRun, Policy, Side, Status, Verdict, check},
    recording::directory::RunDirectory,
    replay::analyse,
    report::check::{Format, render},
};
use tracer_common::{
    point::{Kind, Point},
    record::{HEADER_BYTES, Record},
};

/// Runs of a side: the same recording several times, so that whatever is tested is firm.
const RUNS: usize = 4;
/// A point that at least this share of the requests pass is missed, where it is gone.
const MISSED: f64 = 0.2;

fn recording(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings")).join(name)
}

/// The domains of a recording whose records have the kind.
fn kinds(recording: &Path) -> BTreeMap<String, Vec<Kind>> {
    let mut kinds: BTreeMap<String, Vec<Kind>> = BTreeMap::new();
    for entry in fs::read_dir(recording).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(domain) = name.strip_suffix("-records.bin") else {
            continue;
        };
        each_record(&mut fs::read(&path).unwrap(), |kind, _| {
            let of_domain = kinds.entry(domain.to_owned()).or_default();
            if kind.is_request() && !of_domain.contains(&kind) {
                of_domain.push(kind);
            }
        });
    }
    kinds
}

/// Gives each record of a file to `change`: its kind, and its stamps as bytes.
fn each_record(bytes: &mut [u8], mut change: impl FnMut(Kind, &mut [u8])) {
    let mut at = 0;
    while at < bytes.len() {
        let (record, len) = Record::decode(&bytes[at..]).unwrap();
        let kind = Kind::from_u8(record.kind).unwrap();
        change(kind, &mut bytes[at + HEADER_BYTES..at + len]);
        at += len;
    }
}

/// What is changed of a domain's stamps of a point.
#[derive(Clone, Copy)]
struct Change<'c> {
    domain: &'c str,
    kind: Kind,
    point: Point,
    /// Of the records by their number, those that lose the stamp.
    lost: fn(usize) -> bool,
    /// What the others' is later by.
    later_ns: u64,
}

/// A loss of all stamps of a point.
fn loss(domain: &str, kind: Kind, point: Point) -> Change<'_> {
    Change {
        domain,
        kind,
        point,
        lost: |_| true,
        later_ns: 0,
    }
}

/// The report of a recording with its stamps changed.
fn report(recording: &Path, change: Option<Change<'_>>) -> Option<Report> {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(recording).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    if let Some(change) = change {
        let path = folder.path().join(format!("{}-records.bin", change.domain));
        let mut bytes = fs::read(&path).unwrap();
        let index = change.kind.index_of(change.point);
        let mut number = 0;
        each_record(&mut bytes, |kind, stamps| {
            let stamp = &mut stamps.chunks_mut(8).nth(index);
            let Some(stamp) = stamp.as_mut().filter(|_| kind == change.kind) else {
                return;
            };
            let at = u64::from_ne_bytes((&**stamp).try_into().unwrap());
            if (change.lost)(number) {
                stamp.fill(0);
            } else if at != 0 {
                stamp.copy_from_slice(&(at + change.later_ns).to_ne_bytes());
            }
            number += 1;
        });
        fs::write(path, bytes).unwrap();
    }
    analyse(&RunDirectory::open(folder.path()).unwrap()).ok()
}

/// Several runs that are all this one, each begun at another time.
fn side(name: &str, report: &Report) -> Vec<CheckedRun> {
    let run = |at: usize| {
        let mut report = report.clone();
        report.started = format!("{name} {at}");
        CheckedRun {
            source: report.started.clone(),
            max_lost_percent: 1.0,
            report,
            ..CheckedRun::default()
        }
    };
    (0..RUNS).map(run).collect()
}

/// The largest share of any breakdown's requests that pass a point.
fn share(report: &Report, point: &str) -> f64 {
    let shares = report.breakdowns.iter().map(|own| {
        let count = |end: fn(&tracer_analysis::StageFigures) -> &str| {
            let stages = own.stages.iter().filter(|stage| end(stage) == point);
            stages.map(|stage| stage.figures.count as f64).sum::<f64>()
        };
        count(|stage| &stage.from).max(count(|stage| &stage.to)) / own.total.count.max(1) as f64
    });
    shares.fold(0.0, f64::max)
}

/// Points that one report's requests pass, and hardly any of the other's.
fn lost(whole: &Report, left: &Report) -> Vec<String> {
    let stages = whole.breakdowns.iter().flat_map(|own| &own.stages);
    let mut points: Vec<String> = stages
        .flat_map(|stage| [stage.from.clone(), stage.to.clone()])
        .filter(|point| !point.starts_with("vcpu.") && !point.starts_with("blkback.pre"))
        .filter(|point| share(whole, point) >= MISSED && share(left, point) < 0.01)
        .collect();
    points.sort();
    points.dedup();
    points
}

/// What no form may say of a check in which points of one side are gone.
fn assert_honest(check: &Check, lost: &[String], without: Side, what: &str) {
    assert_ne!(
        check.verdict,
        Verdict::Regressed,
        "{what}: no kernel is slower"
    );
    let improved = check
        .tests()
        .find(|(_, _, test)| test.status == Status::Improved);
    assert!(
        improved.is_none(),
        "{what}: no kernel is faster: {improved:?}"
    );
    for (_, stage, test) in check.tests() {
        let ends: Vec<&str> = stage.name.split("..").collect();
        let is_lost = lost.iter().any(|point| ends.contains(&point.as_str()));
        assert!(!is_lost, "{what}: {} is {:?}", stage.name, test.status);
    }
    if lost.is_empty() || check.verdict == Verdict::NotComparable {
        return;
    }
    let total_is_tested = check
        .breakdowns
        .iter()
        .all(|own| own.stages[0].incomparable.is_none());
    let may_pass = without == Side::Base && total_is_tested;
    assert!(
        may_pass || check.verdict == Verdict::CannotTell,
        "{what}: {:?}: {:?}",
        check.verdict,
        check.warnings
    );
    let said = check.reasons.iter().chain(check.warnings.first());
    let said = said.cloned().collect::<Vec<_>>().join("\n");
    for point in lost {
        assert!(said.contains(point.as_str()), "{what}: {said}");
    }
    for format in [Format::Text, Format::Json, Format::Junit, Format::Markdown] {
        // Markdown escapes what it would take for its own.
        let form = String::from_utf8(render(check, format).unwrap()).unwrap();
        let form = form.replace('\\', "");
        assert!(form.contains(&lost[0]), "{what}: {format:?}: {form}");
        assert!(!form.contains("improved"), "{what}: {format:?}: {form}");
    }
}

/// Takes away each point of a recording in turn. Returns how many were missed.
fn take_each_point(recording: &Path) -> usize {
    // One figure of each kind, for time's sake.
    let policy = Policy::parse("metrics = [\"mean\", \"max\"]", "policy").unwrap();
    let whole = report(recording, None).unwrap();
    let control = check(&side("a", &whole), &side("b", &whole), &Policy::default());
    assert_eq!(control.verdict, Verdict::Passed, "{:?}", control.reasons);
    let mut missed = 0;
    for (domain, kinds) in kinds(recording) {
        for (kind, point) in kinds
            .iter()
            .flat_map(|kind| kind.points().iter().map(move |point| (*kind, *point)))
        {
            let Some(left) = report(recording, Some(loss(&domain, kind, point))) else {
                continue;
            };
            let lost = lost(&whole, &left);
            missed += usize::from(!lost.is_empty());
            let (with, without) = (side("with", &whole), side("without", &left));
            for (lacks, base, new) in [(Side::New, &with, &without), (Side::Base, &without, &with)]
            {
                let (from, point) = (recording.display(), point.name());
                let what = format!("{from} without {domain}'s {point} on {lacks:?}");
                assert_honest(&check(base, new, &policy), &lost, lacks, &what);
            }
        }
    }
    missed
}

#[test]
fn a_point_of_a_disk_that_is_gone_is_no_faster_kernel() {
    let missed = take_each_point(&recording("disk-vbd"));
    assert!(missed > 15, "{missed}");
}

#[test]
fn a_point_of_a_passed_through_disk_that_is_gone_is_no_faster_kernel() {
    let missed = take_each_point(&recording("disk-passthrough"));
    assert!(missed > 8, "{missed}");
}

#[test]
fn a_point_of_packets_that_is_gone_is_no_faster_kernel() {
    let missed = take_each_point(&recording("nic-vif"));
    assert!(missed > 15, "{missed}");
}

#[test]
fn a_point_of_a_passed_through_card_that_is_gone_is_no_faster_kernel() {
    let missed = take_each_point(&recording("nic-passthrough"));
    assert!(missed > 7, "{missed}");
}

#[test]
fn a_point_of_a_disk_without_xen_that_is_gone_is_no_faster_kernel() {
    let missed = take_each_point(&recording("disk-native"));
    assert!(missed > 5, "{missed}");
}

#[test]
fn a_point_of_packets_without_xen_that_is_gone_is_no_faster_kernel() {
    let missed = take_each_point(&recording("net-native"));
    assert!(missed > 8, "{missed}");
}

#[test]
fn a_point_that_one_run_of_several_lacks_is_told() {
    let recording = recording("disk-vbd");
    let whole = report(&recording, None).unwrap();
    let left = report(&recording, Some(loss("B", Kind::Disk, Point::SchedWaking))).unwrap();
    let mut new = side("b", &whole);
    new[0].report = Report {
        started: "b 0".into(),
        ..left
    };
    let check = check(&side("a", &whole), &new, &Policy::default());
    assert_eq!(check.verdict, Verdict::CannotTell);
    assert!(
        check.reasons[0].contains("the new runs lack sched.waking in 1 of 4 runs"),
        "{:?}",
        check.reasons
    );
}

#[test]
fn a_point_that_some_requests_lose_is_no_faster_kernel() {
    let recording = recording("disk-vbd");
    let whole = report(&recording, None).unwrap();
    for (kind, domain, point) in [
        (Kind::Disk, "B", Point::BlkQueue),
        (Kind::Disk, "B", Point::BlkInsert),
        (Kind::Disk, "B", Point::EvtchnUpcall),
        (Kind::Disk, "B", Point::SchedSwitch),
        (Kind::Blkback, "dom0", Point::Dom0Issue),
    ] {
        let some: [fn(usize) -> bool; 3] = [|at| at % 14 == 0, |at| at % 2 == 0, |at| at % 14 != 0];
        for lost in some {
            let change = Change {
                lost,
                ..loss(domain, kind, point)
            };
            let left = report(&recording, Some(change)).unwrap();
            let policy = Policy::default();
            let check = check(&side("with", &whole), &side("without", &left), &policy);
            let what = format!("without some of {domain}'s {}", point.name());
            let improved = check.tests().find(|test| test.2.status == Status::Improved);
            assert!(improved.is_none(), "{what}: {improved:?}");
            assert_eq!(
                check.verdict,
                Verdict::CannotTell,
                "{what}: {:?}",
                check.warnings
            );
            assert!(
                check.reasons[0].contains(point.name()),
                "{what}: {:?}",
                check.reasons
            );
        }
    }
}

#[test]
fn a_regression_is_not_hidden_by_a_lost_point() {
    let recording = recording("disk-vbd");
    let whole = report(&recording, None).unwrap();
    let slower = |lost| Change {
        lost,
        later_ns: 5_000_000,
        ..loss("B", Kind::Disk, Point::SchedSwitch)
    };
    let verdict = |lost| {
        let slower = report(&recording, Some(slower(lost))).unwrap();
        let check = check(&side("a", &whole), &side("b", &slower), &Policy::default());
        check.verdict
    };
    assert_eq!(verdict(|_| false), Verdict::Regressed);
    let some: [fn(usize) -> bool; 4] = [
        |_| true,
        |at| at % 14 != 0,
        |at| at % 2 == 0,
        |at| at % 10 == 0,
    ];
    for lost in some {
        assert_ne!(verdict(lost), Verdict::Passed);
    }
}

#[test]
fn what_one_side_does_not_know_of_others_time_makes_no_verdict() {
    let recording = recording("disk-passthrough");
    let whole = report(&recording, None).unwrap();
    let missing: Value = serde_json::json!({
        "role": "time that Xen gave to others", "point": "vcpu.off", "required": false, "why": ["hidden"]
    });
    let unknown = |domain: &str| {
        let mut report = whole.clone();
        let mut domains = report.domains.iter_mut();
        let of = domains.find(|own| own.name == domain).unwrap();
        of.unavailable = vec![serde_json::from_value(missing.clone()).unwrap()];
        // Its own times are in the stages.
        for own in &mut report.breakdowns {
            own.stages.retain(|stage| stage.from != "vcpu.off");
        }
        report
    };
    let has_aside = |report: &Report| {
        let mut stages = report.breakdowns.iter().flat_map(|own| &own.stages);
        stages.any(|stage| stage.from == "vcpu.off")
    };
    assert!(has_aside(&whole), "the recording has such times");
    for (base, new) in [
        (whole.clone(), unknown("B")),
        (unknown("B"), whole.clone()),
        (unknown("dom0"), unknown("B")),
    ] {
        let check = check(&side("a", &base), &side("b", &new), &Policy::default());
        let stages = check.breakdowns[0].stages.iter();
        let tested = stages.filter(|stage| stage.name != "total" && !stage.tests.is_empty());
        let asides = has_aside(&base) || has_aside(&new);
        assert!(!asides || tested.count() == 0, "{:?}", check.verdict);
        assert_ne!(check.verdict, Verdict::Regressed);
    }
}

#[test]
fn the_reason_of_a_lost_point_is_told_with_it() {
    let recording = recording("disk-vbd");
    let whole = report(&recording, None).unwrap();
    let mut left = report(
        &recording,
        Some(loss("dom0", Kind::Blkback, Point::Dom0Issue)),
    )
    .unwrap();
    let dom0 = left.domains.iter_mut().find(|domain| domain.name == "dom0");
    let missing: Value = serde_json::json!({
        "role": "request issued", "point": "blk.issue", "required": false, "why": ["refused"]
    });
    let dom0 = dom0.unwrap();
    dom0.unavailable = vec![serde_json::from_value(missing).unwrap()];
    // A probe that was refused is not attached.
    dom0.bindings
        .retain(|binding| binding.point.as_deref() != Some("blk.issue"));
    let new: Vec<CheckedRun> = side("b", &left)
        .into_iter()
        .map(CheckedRun::trimmed)
        .collect();
    let check = check(&side("a", &whole), &new, &Policy::default());
    assert!(
        check.reasons[0].contains("dom0.issue (refused)"),
        "{:?}",
        check.reasons
    );
}
