//! What the tests share: the lab, and the commands as its users type them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) use crate::lanes::*;
use serde_json::Value;
use tracer_analysis::compare::{Comparison, Pair};
use tracer_analysis::document::{DomainReport, JoinReport};
use tracer_analysis::{Breakdown, Report};
use tracer_common::record::Record;

/// What lets tests tell their times is not for the compilers that their commands start.
const UNSTABLE: &str = "RUSTC_BOOTSTRAP";

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("lab").args(&args[..1]);
    // Attaching patches the kernel's code. Once, with two CPUs, a kernel under QEMU 7.2 ran a breakpoint
    // of that after its end, and crashed: so the tests' kernels that are traced have one.
    match args[0] {
        "up" | "run" | "matrix" => drop(command.arg("--dom0-vcpus=1")),
        "native" => drop(command.args(["--dom0-vcpus=1", "--smp=1"])),
        _ => {}
    }
    command.args(&args[1..]).stdin(Stdio::null());
    command.env_remove(UNSTABLE);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}

/// Runs a command to its end, or interrupts it: none takes half an hour but one that hangs.
pub(crate) fn lab(args: &[&str]) -> Output {
    let whole = command(args);
    let mut bounded = Command::new("timeout");
    bounded.args(["--signal=INT", "--kill-after=60", "1800"]);
    bounded.arg(whole.get_program()).args(whole.get_args());
    bounded.current_dir(whole.get_current_dir().unwrap());
    bounded
        .env_remove(UNSTABLE)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A script in a domain of the shared lab.
pub(crate) fn exec(domain: &str, script: &str) -> Output {
    lab(&["exec", "--name", this_lab(), domain, "--", script])
}

pub(crate) fn printed(domain: &str, script: &str) -> String {
    let output = exec(domain, script);
    assert!(output.status.success(), "{script}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A setting of a domain that is put back.
pub(crate) struct Setting {
    domain: &'static str,
    undo: String,
}

impl Setting {
    pub(crate) fn new(domain: &'static str, set: &str, undo: String) -> Self {
        printed(domain, set);
        Self { domain, undo }
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        exec(self.domain, &self.undo);
    }
}

pub(crate) fn status_of(name: &str) -> Option<Value> {
    let output = lab(&["status", "--json"]);
    let labs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut labs = labs.as_array().unwrap().iter();
    labs.find(|lab| lab["name"] == name).cloned()
}

pub(crate) fn cache() -> PathBuf {
    let folder = std::env::var_os("TRACER_LAB_DIR").unwrap_or("/var/cache/tracer-lab".into());
    PathBuf::from(folder).join("cache")
}

/// Whether the lab's QEMU has crashed, rather than what runs in it.
pub(crate) fn qemu_crashed(name: &str) -> bool {
    let log = cache().with_file_name("labs").join(name).join("qemu.log");
    fs::read_to_string(log).is_ok_and(|log| log.contains("QEMU itself crashed"))
}

/// A folder for one test's runs.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

pub(crate) fn interrupt(child: &std::process::Child) {
    // SAFETY: kill takes plain numbers and touches no memory of this process.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) };
}

/// Waits, at most two minutes.
pub(crate) fn wait_until(done: impl Fn() -> bool) {
    for _ in 0..240 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    panic!("it did not come so far within two minutes");
}

/// The scenario of the README, small.
pub(crate) const SMALL: [&str; 5] = [
    "--",
    "--json",
    "--iterations=1",
    "--set=workload.count=500",
    "--set=run.warm_up=0",
];

/// The report that a command printed.
pub(crate) fn printed_report(output: &Output) -> Report {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Checks a report that `tracer run --json` printed in a domain.
pub(crate) fn assert_breakdown(output: &Output, release: &str) {
    assert!(output.status.success(), "{}", text(output));
    let report = printed_report(output);
    let breakdown = &report.breakdowns[0];
    assert_eq!(breakdown.total.count, 500, "{report:#?}");
    // What every request passes. Its reader may never sleep: on one CPU the loop device's worker can be
    // done before the reader goes on.
    for point in ["blk.getrq", "blk.issue", "blk.complete"] {
        let passed = passed(breakdown, point);
        assert_eq!(passed, 500, "{point} in {breakdown:#?}");
    }
    let stages = breakdown.stages.iter();
    let shares: f64 = stages.map(|stage| stage.figures.share_of_mean).sum();
    assert!((shares - 1.0).abs() < 1e-9, "shares add up to {shares}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains(release), "{report:#?}");
}

/// The stages of a breakdown, and its components, add up to its totals.
pub(crate) fn assert_adds_up(breakdown: &Breakdown) {
    let stages = breakdown.stages.iter().map(|stage| stage.figures.sum_ns);
    let components = breakdown.components.iter().map(|part| part.sum_ns);
    for sum in [stages.sum::<u64>(), components.sum()] {
        assert_eq!(sum, breakdown.total.sum_ns, "to the nanosecond");
    }
}

/// Requests that had a stage that ends at this point.
pub(crate) fn passed(breakdown: &Breakdown, point: &str) -> u64 {
    let ending = breakdown.stages.iter().filter(|stage| stage.to == point);
    ending.map(|stage| stage.figures.count).sum()
}

/// The tables 2 and 3 of the paper: the handler of a device, how often and how long.
pub(crate) fn assert_interrupts(report: &Report, domain: &str, name: &str) {
    let all = report.interrupts.iter();
    let of_name = all.filter(|irq| irq.domain == domain && irq.name.starts_with(name));
    // A domain may have more than one of a name: that of the disk is the busiest.
    let busiest = of_name.max_by_key(|irq| irq.count);
    let irq = busiest.unwrap_or_else(|| panic!("{domain}: {name}"));
    assert!(irq.per_iteration > 100.0, "{irq:#?}");
    assert!(irq.handler_mean_ns > 0.0, "{irq:#?}");
}

/// Checks that in a domain where the tracer has run, every trace point of the datapaths that the domain
/// has is bound to something.
pub(crate) fn assert_bindings(name: &str, domain: &str) {
    let backend = ["disk/vbd-backend", "net/vif-backend"].as_slice();
    let frontend = ["disk/vbd", "net-tx/vif", "net-rx/vif"].as_slice();
    let passed_through = [
        "disk/passthrough",
        "net-tx/passthrough",
        "net-rx/passthrough",
    ]
    .as_slice();
    let expected = match domain {
        "dom0" => [backend, passed_through].concat(),
        "A" => frontend.to_vec(),
        _ => [frontend, passed_through].concat(),
    };
    // It exits with an error where other datapaths cannot be traced.
    let script = "tracer probes --json || true";
    let output = lab(&["exec", "--name", name, domain, "--", script]);
    let probes: Value = serde_json::from_slice(&output.stdout).unwrap();
    for wanted in expected {
        let mut datapaths = probes["datapaths"].as_array().unwrap().iter();
        let found = datapaths.find(|path| path["name"] == wanted).unwrap();
        assert_eq!(found["traceable"], true, "{domain}: {found:#}");
        assert_eq!(found["unavailable"], Value::Array(vec![]), "{domain}");
        assert!(found["attached"].as_array().unwrap().len() >= 10);
    }
}

pub(crate) fn run_small<'a>(mut args: Vec<&'a str>, out: &'a Path) -> Output {
    let out = out.to_str().unwrap();
    args.extend(["scenarios/native-disk.toml", "--out", out]);
    args.extend(SMALL);
    lab(&args)
}

/// The tracer that the lab was given.
pub(crate) fn tracer() -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    Command::new(target.join("x86_64-unknown-linux-gnu/release/tracer"))
}

/// What `tracer compare` says of a datapath in two runs.
pub(crate) fn compared(a: &Path, b: &Path, datapath: &str) -> Pair {
    let mut command = tracer();
    let output = command
        .arg("compare")
        .args([a, b])
        .args(["--format", "json"]);
    let output = output.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let comparison: Comparison = serde_json::from_slice(&output.stdout).unwrap();
    let mut pairs = comparison.pairs.iter();
    let pair = pairs.find(|pair| pair.a.datapath == datapath);
    pair.unwrap_or_else(|| panic!("no {datapath}: {comparison:#?}"))
        .clone()
}

/// What a lab might leave: its folder, its namespace, processes that name its folder.
pub(crate) fn left_overs(name: &str) -> Vec<String> {
    let mut left = Vec::new();
    let folder = cache().with_file_name("labs").join(name);
    if folder.exists() {
        left.push(folder.display().to_string());
    }
    // Those of labs of this name in other folders, too.
    let (namespace, elsewhere) = (format!("tracer-lab-{name}"), format!("tracer-lab-{name}@"));
    let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let namespaces = namespaces.map(|entry| entry.file_name().to_string_lossy().into_owned());
    left.extend(namespaces.filter(|found| *found == namespace || found.starts_with(&elsewhere)));
    let pattern = format!("{}/", folder.display());
    let found = Command::new("pgrep")
        .args(["-af", &pattern])
        .output()
        .unwrap();
    left.extend(
        String::from_utf8_lossy(&found.stdout)
            .lines()
            .map(str::to_owned),
    );
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    left.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&pattern))
            .map(str::to_owned),
    );
    left
}

/// What a domain recorded in a run.
pub(crate) fn records(run: &Path, domain: &str) -> Vec<Record> {
    let bytes = fs::read(run.join(format!("{domain}-records.bin"))).unwrap();
    let mut rest = &bytes[..];
    let mut records = Vec::new();
    while let Some((record, len)) = Record::decode(rest) {
        rest = &rest[len..];
        records.push(record);
    }
    records
}

/// A domain of a report.
pub(crate) fn domain<'a>(report: &'a Report, name: &str) -> &'a DomainReport {
    let mut domains = report.domains.iter();
    domains.find(|domain| domain.name == name).unwrap()
}

/// Why a run is partial, which it must be.
pub(crate) fn partial(report: &Report) -> &str {
    report.partial.as_deref().unwrap()
}

/// How a guest's requests were joined, which they must have been.
pub(crate) fn join(guest: &DomainReport) -> &JoinReport {
    let join = guest.join.as_ref();
    join.unwrap_or_else(|| panic!("nothing is joined: {guest:#?}"))
}

/// The domain's clock is mapped well, and nothing contradicts it.
pub(crate) fn assert_clock(domain: &DomainReport) {
    let clock = &domain.clock;
    assert_eq!(clock.violations, 0, "{clock:#?}");
    assert!(clock.error_ns.unwrap() < 50_000.0, "{clock:#?}");
}
