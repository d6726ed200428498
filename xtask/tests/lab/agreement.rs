//! The figures against those of the tools that people know, which watch the same requests: fio in the guest,
//! blktrace and btt in Dom0.

use std::path::Path;

use serde_json::Value;
use tracer_analysis::Report;
use tracer_common::point::{Kind, Point};

use crate::support::*;

/// How far figures of the same thing may be from each other, beside what the programs between them take.
const TOLERANCE: f64 = 0.05;

const SCENARIO: &str = r#"
schema = 1
name = "agreement"
[[domain]]
name = "dom0"
[[domain]]
name = "B"
agent = "console"
[workload]
domain = "B"
kind = "command"
program = "fio"
args = ["--name=t", "--filename=/dev/xvda", "--readonly", "--rw=randread", "--bs=16k", "--direct=1", "--ioengine=libaio", "--number_ios=1000", "--output-format=json"]
[[background]]
domain = "dom0"
kind = "command"
program = "blktrace"
args = ["-d", "/dev/lab/measured", "-a", "queue", "-a", "issue", "-a", "complete", "-D", "/run", "-o", "agreement"]
[run]
iterations = 1
warm_up = 0
[probes]
datapaths = ["disk/vbd"]
devices = ["/dev/xvda"]
measure_cost = true
"#;

/// What btt makes of blktrace's events: a file of the times of each request for either pair of points.
const BTT: &str = "cd /run
blkparse -q -i agreement -d agreement.bin >/dev/null
btt -i agreement.bin -q agreement -l agreement >/dev/null
for pair in q2c d2c; do echo $pair $(cut -d ' ' -f 2 agreement_*_$pair.dat); done
rm -f agreement*";

fn median(mut values: Vec<f64>) -> f64 {
    assert!(values.len() >= 990, "{} of 1000 requests", values.len());
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median of a line of [`BTT`], in nanoseconds. Not the mean: a CPU that is taken away between both
/// tools' looks at one request is in that for milliseconds.
fn btt_ns(printed: &str, pair: &str) -> f64 {
    let mut lines = printed.lines();
    let line = lines.find_map(|line| line.strip_prefix(pair));
    let seconds = line.unwrap_or_else(|| panic!("no {pair} in {printed}"));
    let ns = |word: &str| word.parse::<f64>().unwrap() * 1e9;
    median(seconds.split_whitespace().map(ns).collect())
}

/// Median time between two points of what Dom0 recorded of the guest's requests, in nanoseconds.
fn recorded_ns(run: &Path, from: Point, to: Point) -> f64 {
    let (from, to) = (Kind::Blkback.index_of(from), Kind::Blkback.index_of(to));
    let mut times = Vec::new();
    for record in records(run, "dom0") {
        if record.kind == Kind::Blkback as u8 && record.at[from] != 0 && record.at[to] != 0 {
            times.push((record.at[to] - record.at[from]) as f64);
        }
    }
    median(times)
}

/// What tracer's own programs take of a request in a domain, in nanoseconds: the tools' looks at one event
/// are as far from each other.
fn cost_ns(report: &Report, name: &str) -> f64 {
    domain(report, name).cost.bpf_ns_per_request
}

fn assert_within(what: &str, ours: f64, theirs: (f64, f64), cost: f64) {
    let (low, high) = theirs;
    eprintln!(
        "{what}: {ours:.0} ns, the other tool {low:.0} to {high:.0} ns, programs {cost:.0} ns"
    );
    let within = low * (1.0 - TOLERANCE) - cost..=high * (1.0 + TOLERANCE) + cost;
    assert!(within.contains(&ours), "{what}: {ours} not in {within:?}");
}

#[test]
fn fio_in_the_guest_and_btt_in_dom0_see_the_same_times() {
    let _turn = alone();
    let folder = scratch("lab-agreement");
    let scenario = folder.join("scenario.toml");
    std::fs::write(&scenario, SCENARIO).unwrap();
    let out = folder.join("run");
    let mut args = vec!["run", "--name", this_lab(), scenario.to_str().unwrap()];
    args.extend(["--out", out.to_str().unwrap(), "--", "--json"]);
    let output = lab(&args);
    assert!(output.status.success(), "{}", text(&output));
    let report = printed_report(&output);

    // fio's completion latency begins where submission has returned, its total latency before that.
    let printed_by_fio = report.iterations[0].extra["stdout"].as_str().unwrap();
    let fio = &printed_by_fio[printed_by_fio.find('{').unwrap()..];
    let fio: Value = serde_json::from_str(fio).unwrap();
    let mean = |kind: &str| fio["jobs"][0]["read"][kind]["mean"].as_f64().unwrap();
    let breakdown = &report.breakdowns[0];
    assert!(breakdown.total.count >= 990, "{breakdown:#?}");
    let total = breakdown.total.mean_ns;
    let fio_s = (mean("clat_ns"), mean("lat_ns"));
    assert_within("the guest's read", total, fio_s, cost_ns(&report, "B"));

    let btt = printed("dom0", BTT);
    for (pair, from) in [("q2c", Point::BlkbackSubmit), ("d2c", Point::Dom0Issue)] {
        let ours = recorded_ns(&out, from, Point::Dom0Complete);
        let theirs = btt_ns(&btt, pair);
        assert_within(pair, ours, (theirs, theirs), cost_ns(&report, "dom0"));
    }
}
