//! The check of a kernel where the lab's clock counts instructions, so that nothing else that this machine does has
//! a part in it: what is slower by a few per cent is found from one run a side, and what is not, is not.
//! `TRACER_CHECK_ROUNDS` says how often (once).

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::*;

const VIRTUAL: &str = "test-virtual";
/// A request of the timed disk waits so long for its timer, in nanoseconds.
const TIMER_NS: f64 = 100_000.0;
/// The stage that a slower timer is in.
const STAGE: &str = "dom0.issue..dom0.irq.entry";
/// How much longer the planted device takes, as a share of that stage.
const PLANTED_SHARE: f64 = 0.1;
/// How far the time found may be from what was planted.
const TOLERANCE: f64 = 0.1;

/// Ends the lab, whatever becomes of the test.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        lab(&["down", "--name", VIRTUAL]);
    }
}

fn rounds() -> u32 {
    std::env::var("TRACER_CHECK_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// Gives the guest a timed disk as `xvdb`, in place of the one it has.
fn attach(name: &str, ns: f64) {
    let script = format!(
        ". /lab/functions.sh; [ -b /dev/lab/{name} ] || make_timed_disk {name} {ns:.0}
         xl block-detach B xvdb 2>/dev/null && sleep 1
         xl block-attach B format=raw,vdev=xvdb,access=r,script=/lab/hotplug-block,target=/dev/lab/{name}"
    );
    let output = lab(&["exec", "--name", VIRTUAL, "dom0", "--", &script]);
    assert!(output.status.success(), "{}", text(&output));
    let there = ["exec", "--name", VIRTUAL, "B", "--", "test -b /dev/xvdb"];
    wait_until(|| lab(&there).status.success());
}

fn run(folder: &Path, name: &str) -> PathBuf {
    let out = folder.join(name);
    let mut args = vec!["run", "--name", VIRTUAL, "--virtual-time=0"];
    args.extend([
        "scenarios/disk-vbd.toml",
        "--out",
        out.to_str().unwrap(),
        "--",
    ]);
    args.extend(["--json", "--iterations=8", "--set=workload.count=50"]);
    args.push("--set=workload.target=/dev/xvdb");
    let output = lab(&args);
    assert!(output.status.success(), "{}", text(&output));
    out
}

/// The verdict on one run against another, and the stages of the guest's reads.
fn checked(base: &Path, new: &Path) -> (Value, Value) {
    let mut check = tracer();
    check.arg("check").arg(new).arg("--baseline").arg(base);
    let output = check.args(["--format", "json"]).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let regressed = document["verdict"] == "regressed";
    assert_eq!(output.status.code(), Some(i32::from(regressed)));
    let mut breakdowns = document["breakdowns"].as_array().unwrap().iter();
    let breakdown = breakdowns.find(|breakdown| breakdown["datapath"] == "disk/vbd");
    (document["verdict"].clone(), breakdown.unwrap().clone())
}

/// The test of a stage's median: a request in some hundred waits for a vCPU besides, and is in the mean.
fn median<'a>(breakdown: &'a Value, stage: &str) -> &'a Value {
    let mut stages = breakdown["stages"].as_array().unwrap().iter();
    let stage = stages.find(|found| found["name"] == stage).unwrap();
    let mut tests = stage["tests"].as_array().unwrap().iter();
    tests.find(|test| test["metric"] == "p50").unwrap()
}

#[test]
fn slower_device_is_named_in_virtual_time_and_an_equal_one_is_not() {
    let _turn = turn();
    let folder = scratch("lab-check");
    let _ended = Ended;
    let output = lab(&["up", "--name", VIRTUAL, "--virtual-time=0"]);
    assert!(output.status.success(), "{}", text(&output));
    attach("quick", TIMER_NS);
    let first = run(&folder, "first");
    for round in 0..rounds() {
        attach("quick", TIMER_NS);
        let equal = run(&folder, &format!("equal-{round}"));
        let (verdict, breakdown) = checked(&first, &equal);
        assert_eq!(verdict, "passed", "{breakdown:#}");
        let stage_ns = median(&breakdown, STAGE)["base_ns"].as_f64().unwrap();
        let planted_ns = stage_ns * PLANTED_SHARE;
        attach(&format!("slow{round}"), TIMER_NS + planted_ns);
        let slow = run(&folder, &format!("slow-{round}"));
        let (verdict, breakdown) = checked(&equal, &slow);
        let of_stage = median(&breakdown, STAGE);
        let found_ns = of_stage["new_ns"].as_f64().unwrap() - of_stage["base_ns"].as_f64().unwrap();
        eprintln!("round {round}: {planted_ns:.0} ns planted, {found_ns:.0} ns found, {verdict}");
        assert_eq!(verdict, "regressed", "{breakdown:#}");
        assert_eq!(of_stage["status"], "regressed", "{breakdown:#}");
        assert_eq!(breakdown["blamed"]["stage"], STAGE, "{breakdown:#}");
        assert!(
            (found_ns / planted_ns - 1.0).abs() < TOLERANCE,
            "{found_ns} of {planted_ns} ns"
        );
    }
}
