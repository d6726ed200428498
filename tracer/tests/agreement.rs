//! tracer's figures against those of tools that others wrote, of the same requests in the same run.
//! Disagreement fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it was skipped"
)]

mod support;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use support::{alone, assert_conserved, assert_nothing_attached, disk, has, may_trace, run};
use tracer_common::{
    point::{Kind, Point},
    record::Record,
};

fn figure(value: &Value, what: &str) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{what} is missing: {value}"))
}

/// Within a share of the other's figure, or within some nanoseconds.
fn assert_close(what: &str, ours: f64, theirs: f64, share: f64, ns: f64) {
    eprintln!(
        "{what}: tracer {ours:.0} ns, the other tool {theirs:.0} ns ({:+.2}%)",
        (ours / theirs - 1.0) * 100.0
    );
    let close = (ours - theirs).abs() <= f64::max(theirs * share, ns);
    assert!(
        close,
        "{what}: tracer says {ours} ns, the other tool {theirs} ns"
    );
}

/// Between two figures of the other tool, or as close to one of them as [`assert_close`] asks.
fn assert_between(what: &str, ours: f64, low: f64, high: f64, share: f64, ns: f64) {
    eprintln!("{what}: the other tool {low:.0} ns to {high:.0} ns");
    assert!(low <= high);
    assert_close(what, ours, ours.clamp(low, high), share, ns);
}

/// Each request's time from issue to its last point, in order of length. fio's completion latency begins
/// when submission has returned, which is later, and its total latency before submission: the time lies
/// between these two, which differ by more than a little only where the submitting task is preempted.
fn completion_latencies(run: &Path, device: u32) -> Vec<u64> {
    let issue = Kind::Disk.index_of(Point::BlkIssue);
    let bytes = std::fs::read(run.join("native-records.bin")).unwrap();
    let mut rest = &bytes[..];
    let mut times = Vec::new();
    while let Some((record, length)) = Record::decode(rest) {
        rest = &rest[length..];
        if record.dev == device && record.at[issue] != 0 {
            times.push(record.at.iter().max().unwrap() - record.at[issue]);
        }
    }
    times.sort_unstable();
    times
}

#[test]
fn fio_sees_the_same_latency() {
    let test = "fio_sees_the_same_latency";
    if !may_trace(test) || !has("fio", test) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let workload = "kind = \"command\"\nprogram = \"fio\"\nargs = [\"--name=t\", \"--filename=@disk\", \"--rw=randread\", \"--bs=16k\", \"--direct=1\", \"--ioengine=libaio\", \"--iodepth=1\", \"--number_ios=12000\", \"--norandommap\", \"--io_size=192M\", \"--clat_percentiles=1\", \"--lat_percentiles=1\", \"--output-format=json\"]";
    let report = run(
        folder.path(),
        &disk(workload, "/var/tmp", "[run]\niterations = 1\nwarm_up = 0"),
    );
    assert_conserved(&report);
    let text = report["iterations"][0]["extra"]["stdout"].as_str().unwrap();
    let fio: Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
    let start: Value = serde_json::from_slice(
        &std::fs::read(folder.path().join("run/native-start.json")).unwrap(),
    )
    .unwrap();
    let devices = start["devices"].as_array().unwrap();
    let device = devices
        .iter()
        .find(|d| d["name"].as_str().unwrap().starts_with("loop"))
        .unwrap();
    let device = u32::try_from(device["dev"].as_u64().unwrap()).unwrap();
    let times = completion_latencies(&folder.path().join("run"), device);
    let theirs = figure(&fio["jobs"][0]["read"]["total_ios"], "total_ios");
    let seen = times.len() as f64 + figure(&report["domains"][0]["lost"], "lost");
    assert!(
        (seen - theirs).abs() <= theirs * 0.01,
        "{seen} requests seen, fio made {theirs}"
    );
    let mean = times.iter().sum::<u64>() as f64 / times.len() as f64;
    let p99 = times[times.len() * 99 / 100] as f64;
    let read = &fio["jobs"][0]["read"];
    let theirs = |of: fn(&Value) -> &Value, what: &str| {
        let figure = |kind: &str| figure(of(&read[kind]), &format!("{kind} {what}"));
        (figure("clat_ns"), figure("lat_ns"))
    };
    let (low, high) = theirs(|kind| &kind["mean"], "mean");
    assert_between("mean", mean, low, high, 0.05, 2_000.0);
    let (low, high) = theirs(|kind| &kind["percentile"]["99.000000"], "p99");
    assert_between("p99", p99, low, high, 0.05, 2_000.0);
    assert_nothing_attached();
}

/// Time from one point to another, over all requests: the stages in between, by their sums.
fn between(breakdown: &Value, from: &str, to: &str) -> f64 {
    const ORDER: [&str; 8] = [
        "blk.queue",
        "blk.getrq",
        "blk.insert",
        "blk.requeue",
        "blk.issue",
        "irq.entry",
        "softirq.entry",
        "blk.complete",
    ];
    let place = |name: &str| {
        ORDER
            .iter()
            .position(|point| *point == name)
            .unwrap_or(usize::MAX)
    };
    let sum: f64 = breakdown["stages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|stage| {
            place(stage["from"].as_str().unwrap()) >= place(from)
                && place(stage["to"].as_str().unwrap()) <= place(to)
        })
        .map(|stage| figure(&stage["sum_ns"], "sum"))
        .sum();
    sum / figure(&breakdown["total"]["count"], "count")
}

/// blktrace, or where the kernel refuses it the kernel's own blk tracer: the same events, read from
/// tracefs in blktrace's binary form.
enum Capture {
    Blktrace(Child),
    BlkTracer { enable: String },
}

const TRACEFS: &str = "/sys/kernel/tracing";

fn set(path: &str, value: &str) {
    std::fs::write(path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}

impl Capture {
    fn start(device: &str, folder: &Path) -> Self {
        if !Path::new("/sys/kernel/debug/block").exists() {
            let _ = Command::new("mount")
                .args(["-t", "debugfs", "debugfs", "/sys/kernel/debug"])
                .status();
        }
        let mut blktrace = Command::new("blktrace")
            .args(["-d", device, "-o", "trace"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_secs(1));
        if blktrace.try_wait().unwrap().is_none() {
            return Self::Blktrace(blktrace);
        }
        eprintln!("blktrace is refused here: the kernel's blk tracer takes its place");
        if !Path::new(TRACEFS).join("current_tracer").exists() {
            let _ = Command::new("mount")
                .args(["-t", "tracefs", "tracefs", TRACEFS])
                .status();
        }
        let enable = format!(
            "/sys/block/{}/trace/enable",
            device.trim_start_matches("/dev/")
        );
        set(&format!("{TRACEFS}/current_tracer"), "blk");
        set(&format!("{TRACEFS}/trace_options"), "bin");
        set(&format!("{TRACEFS}/trace_options"), "nocontext-info");
        set(&format!("{TRACEFS}/buffer_size_kb"), "20000");
        set(&enable, "1");
        set(&format!("{TRACEFS}/tracing_on"), "1");
        Self::BlkTracer { enable }
    }

    /// Ends it; `trace.blktrace.CPU` are in the folder then.
    fn end(self, folder: &Path) {
        thread::sleep(Duration::from_millis(500));
        match self {
            Self::Blktrace(mut child) => {
                let _ = Command::new("kill")
                    .args(["-INT", &child.id().to_string()])
                    .status();
                let _ = child.wait();
            }
            Self::BlkTracer { enable } => {
                // Read only now: a reader that waits is woken by every event, inside the kernel's
                // completion and before our program there, and its wake-up would count as ours.
                set(&enable, "0");
                set(&format!("{TRACEFS}/tracing_on"), "0");
                let read = Command::new("timeout")
                    .args(["20", "cat"])
                    .arg(format!("{TRACEFS}/trace_pipe"))
                    .stdout(std::fs::File::create(folder.join("all")).unwrap())
                    .status()
                    .unwrap();
                assert!(read.success(), "trace_pipe did not end: {read}");
                set(&format!("{TRACEFS}/trace_options"), "nobin");
                set(&format!("{TRACEFS}/trace_options"), "context-info");
                set(&format!("{TRACEFS}/current_tracer"), "nop");
                set(&format!("{TRACEFS}/tracing_on"), "1");
                split_by_cpu(folder);
            }
        }
    }
}

/// blkparse wants a file a CPU. An event is a `struct blk_io_trace` (include/uapi/linux/
/// blktrace_api.h: 48 bytes; the CPU at 40, the length of what follows at 46).
fn split_by_cpu(folder: &Path) {
    let all = std::fs::read(folder.join("all")).unwrap();
    let mut files: std::collections::BTreeMap<u32, Vec<u8>> = std::collections::BTreeMap::new();
    let mut rest = &all[..];
    while rest.len() >= 48 {
        let cpu = u32::from_ne_bytes(rest[40..44].try_into().unwrap());
        let length = 48 + usize::from(u16::from_ne_bytes(rest[46..48].try_into().unwrap()));
        let (event, behind) = rest.split_at(length.min(rest.len()));
        files.entry(cpu).or_default().extend_from_slice(event);
        rest = behind;
    }
    let last = *files
        .keys()
        .last()
        .expect("the blk tracer has kept no event");
    // blkparse looks no further than to the first CPU that has no file.
    for cpu in 0..=last {
        let events = files.remove(&cpu).unwrap_or_default();
        std::fs::write(folder.join(format!("trace.blktrace.{cpu}")), events).unwrap();
    }
}

/// btt's average in seconds of a line such as `D2C  0.000001 0.000002 0.000003 100`, as nanoseconds.
fn btt_average(report: &str, name: &str) -> f64 {
    let line = report
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")))
        .unwrap_or_else(|| panic!("no {name} in {report}"));
    line.split_whitespace()
        .nth(2)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        * 1e9
}

#[test]
fn btt_sees_the_same_stages() {
    let test = "btt_sees_the_same_stages";
    if !may_trace(test) || !has("blktrace", test) || !has("btt", test) || !has("losetup", test) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
    let image = folder.path().join("image");
    std::fs::write(&image, vec![0x5A; 64 << 20]).unwrap();
    let made = Command::new("losetup")
        .args(["--find", "--show", "--direct-io=on"])
        .arg(&image)
        .output()
        .unwrap();
    let device = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let capture = Capture::start(&device, folder.path());
    let text = format!(
        "schema = 1\nname = \"btt\"\n[[domain]]\nname = \"native\"\n[workload]\nkind = \"dd\"\ntarget = \"{device}\"\nblock_size = \"64KiB\"\ncount = 8000\ndirect = true\n[run]\niterations = 1\nwarm_up = 0\n[probes]\ndatapaths = [\"disk/native\"]\ndevices = [\"{device}\"]\n"
    );
    let report = run(folder.path(), &text);
    capture.end(folder.path());
    let _ = Command::new("losetup").args(["--detach", &device]).status();
    let parsed = Command::new("blkparse")
        .args(["-q", "-i", "trace", "-d", "trace.bin", "-O"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(parsed.status.success(), "{}", support::words(&parsed));
    let btt = Command::new("btt")
        .args(["-i", "trace.bin"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let btt = String::from_utf8_lossy(&btt.stdout).into_owned();
    assert_conserved(&report);
    let name = device.trim_start_matches("/dev/");
    let breakdown = report["breakdowns"]
        .as_array()
        .unwrap()
        .iter()
        .find(|b| b["device"] == name && b["operation"] == "read")
        .unwrap();
    assert_close(
        "Q2C",
        between(breakdown, "blk.queue", "blk.complete"),
        btt_average(&btt, "Q2C"),
        0.03,
        0.0,
    );
    assert_close(
        "D2C",
        between(breakdown, "blk.issue", "blk.complete"),
        btt_average(&btt, "D2C"),
        0.03,
        0.0,
    );
}

/// The kernel's own count and the traced one: exact, or within the share of events for which the
/// kernel was seen not to call BPF programs (README, Limits).
#[test]
fn interrupts_agree_with_the_kernels_count() {
    if !may_trace("interrupts_agree_with_the_kernels_count") {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let text = "schema = 1\nname = \"irq\"\n[[domain]]\nname = \"native\"\n[[resource]]\nname = \"f\"\nkind = \"file\"\nsize = \"64MiB\"\n[workload]\nkind = \"dd\"\ntarget = \"@f\"\nblock_size = \"64KiB\"\ncount = 4000\ndirect = true\n[run]\niterations = 2\nwarm_up = 0\n[probes]\ndatapaths = [\"irq\"]\n";
    let report = run(folder.path(), text);
    let interrupts = report["interrupts"].as_array().unwrap();
    for irq in interrupts {
        let (ours, theirs) = (
            figure(&irq["count"], "count"),
            figure(&irq["proc_interrupts"], "proc"),
        );
        eprintln!(
            "interrupt {} {}: traced {ours}, /proc/interrupts {theirs}",
            irq["irq"], irq["name"]
        );
        assert!(
            ours <= theirs || irq["agrees"] == true,
            "more calls than arrivals: {irq:#}"
        );
        assert!(
            (ours - theirs).abs() <= f64::max(theirs * 0.01, 2.0),
            "{irq:#}"
        );
    }
}
