//! The figures against those of the tools that people know, which watch the same requests: fio in the guest,
//! blktrace and btt in Dom0.

use std::path::Path;

use serde_json::Value;
use tracer_common::{
    point::{Kind, Point},
    record::Record,
};

use crate::support::*;

/// How far figures of the same thing may be from each other.
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
"#;

/// The mean of a line of btt's table of all devices, in nanoseconds.
fn btt_mean_ns(table: &str, name: &str) -> f64 {
    let mut lines = table.lines();
    let line = lines.find(|line| line.split_whitespace().next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {table}"));
    // Name, minimum, mean, maximum, count; in seconds.
    let mean = line.split_whitespace().nth(2).unwrap();
    mean.parse::<f64>().unwrap() * 1e9
}

/// Mean time between two points of what Dom0 recorded of the guest's requests, in nanoseconds.
fn mean_ns(run: &Path, from: Point, to: Point) -> f64 {
    let bytes = std::fs::read(run.join("dom0-records.bin")).unwrap();
    let (from, to) = (Kind::Blkback.index_of(from), Kind::Blkback.index_of(to));
    let mut rest = &bytes[..];
    let (mut sum, mut count) = (0, 0);
    while let Some((record, len)) = Record::decode(rest) {
        rest = &rest[len..];
        if record.kind == Kind::Blkback as u8 && record.at[from] != 0 && record.at[to] != 0 {
            sum += record.at[to] - record.at[from];
            count += 1;
        }
    }
    assert!(count >= 1000, "{count} of 1000 requests have both points");
    sum as f64 / f64::from(count)
}

fn assert_within(what: &str, ours: f64, low: f64, high: f64) {
    eprintln!("{what}: {ours:.0} ns, the other tool {low:.0} to {high:.0} ns");
    let within = low * (1.0 - TOLERANCE)..=high * (1.0 + TOLERANCE);
    assert!(within.contains(&ours), "{what}: {ours} not in {within:?}");
}

#[test]
fn fio_in_the_guest_and_btt_in_dom0_see_the_same_times() {
    let _turn = shared();
    let folder = scratch("lab-agreement");
    let scenario = folder.join("scenario.toml");
    std::fs::write(&scenario, SCENARIO).unwrap();
    let out = folder.join("run");
    let mut args = vec!["run", "--name", SHARED, scenario.to_str().unwrap()];
    args.extend(["--out", out.to_str().unwrap(), "--", "--json"]);
    let output = lab(&args);
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();

    // fio's completion latency begins where submission has returned, its total latency before that.
    let printed_by_fio = report["iterations"][0]["extra"]["stdout"].as_str().unwrap();
    let fio = &printed_by_fio[printed_by_fio.find('{').unwrap()..];
    let fio: Value = serde_json::from_str(fio).unwrap();
    let mean = |kind: &str| fio["jobs"][0]["read"][kind]["mean"].as_f64().unwrap();
    let breakdown = &report["breakdowns"][0];
    assert!(
        breakdown["total"]["count"].as_u64().unwrap() >= 990,
        "{breakdown:#}"
    );
    let total = breakdown["total"]["mean_ns"].as_f64().unwrap();
    assert_within("the guest's read", total, mean("clat_ns"), mean("lat_ns"));

    let btt = "cd /run && blkparse -q -i agreement -d agreement.bin >/dev/null && btt -i agreement.bin; rm -f agreement*";
    let btt = printed("dom0", btt);
    for (name, from) in [("Q2C", Point::BlkbackSubmit), ("D2C", Point::Dom0Issue)] {
        let (ours, theirs) = (
            mean_ns(&out, from, Point::Dom0Complete),
            btt_mean_ns(&btt, name),
        );
        assert_within(name, ours, theirs, theirs);
    }
}
