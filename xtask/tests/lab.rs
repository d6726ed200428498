//! The lab, as its users have it: a real Xen boots once, and the tests share it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The shared lab's name, and that of labs that a test destroys.
const SHARED: &str = "test";
const VICTIM: &str = "test-victim";

/// One test at a time in the shared lab: its domains run at the speed of an emulator.
static TURN: Mutex<()> = Mutex::new(());

/// Up from its first use to the end of this program.
static LAB: LazyLock<()> = LazyLock::new(|| {
    // SAFETY: the function takes nothing, and is there until the process ends.
    assert_eq!(unsafe { libc::atexit(down_at_exit) }, 0);
    let output = lab(&["down", "--name", SHARED]);
    assert!(output.status.success(), "{}", text(&output));
    let output = lab(&["up", "--name", SHARED]);
    assert!(output.status.success(), "{}", text(&output));
});

extern "C" fn down_at_exit() {
    // A panic must not cross into the C library; what is left, the next test run removes.
    let _ = std::panic::catch_unwind(|| lab(&["down", "--name", SHARED]));
}

fn shared() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    LazyLock::force(&LAB);
    turn
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("lab").args(args).stdin(Stdio::null());
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}

fn lab(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A script in a domain of the shared lab.
fn exec(domain: &str, script: &str) -> Output {
    lab(&["exec", "--name", SHARED, domain, "--", script])
}

fn printed(domain: &str, script: &str) -> String {
    let output = exec(domain, script);
    assert!(output.status.success(), "{script}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn status_of(name: &str) -> Option<Value> {
    let output = lab(&["status", "--json"]);
    let labs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut labs = labs.as_array().unwrap().iter();
    labs.find(|lab| lab["name"] == name).cloned()
}

fn cache() -> PathBuf {
    let folder = std::env::var_os("TRACER_LAB_DIR").unwrap_or("/var/cache/tracer-lab".into());
    PathBuf::from(folder).join("cache")
}

/// A folder for one test's runs.
fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The scenario of the README, small.
const SMALL: [&str; 5] = [
    "--",
    "--json",
    "--iterations=1",
    "--set=workload.count=500",
    "--set=run.warm_up=0",
];

/// Checks a report that `tracer run --json` printed in a domain.
fn assert_breakdown(output: &Output, release: &str) {
    assert!(output.status.success(), "{}", text(output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let breakdown = &report["breakdowns"][0];
    assert_eq!(breakdown["total"]["count"], 500, "{report:#}");
    let stages = breakdown["stages"].as_array().unwrap();
    assert!(stages.len() >= 4, "{breakdown:#}");
    let shares: f64 = stages
        .iter()
        .map(|stage| stage["share_of_mean"].as_f64().unwrap())
        .sum();
    assert!((shares - 1.0).abs() < 1e-9, "shares add up to {shares}");
    assert!(report.to_string().contains(release), "{report:#}");
}

fn run_small<'a>(mut args: Vec<&'a str>, out: &'a Path) -> Output {
    let out = out.to_str().unwrap();
    args.extend(["scenarios/native-disk.toml", "--out", out]);
    args.extend(SMALL);
    lab(&args)
}

#[test]
fn xen_runs_two_guests() {
    let _turn = shared();
    let list = printed("dom0", "xl list");
    let mut names: Vec<&str> = list
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["A", "B", "Domain-0"], "{list}");
    assert_eq!(printed("A", "cat /sys/hypervisor/type"), "xen");
}

#[test]
fn a_command_s_words_output_and_status_pass_through() {
    let _turn = shared();
    for domain in ["dom0", "A", "peer"] {
        let output = exec(domain, "echo out; echo err >&2; exit 7");
        assert_eq!(output.status.code(), Some(7), "{}", text(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
        assert!(String::from_utf8_lossy(&output.stderr).ends_with("err\n"));
        let words = [
            "exec", "--name", SHARED, domain, "--", "printf", "%s|", "a b", "$HOME",
        ];
        assert_eq!(String::from_utf8_lossy(&lab(&words).stdout), "a b|$HOME|");
    }
    let output = exec("C", "true");
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output).contains("there is no domain C"),
        "{}",
        text(&output)
    );
}

#[test]
fn passed_through_card_moves_packets_and_disk_has_the_image_s_data() {
    let _turn = shared();
    printed("B", "ping -c 3 -W 5 -I eth1 10.78.0.1");
    let before: u64 = interrupts("eth1");
    printed("B", "ping -c 3 -W 5 -I eth1 10.78.0.1");
    assert!(interrupts("eth1") > before);
    let disk = fs::read_dir(cache())
        .unwrap()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("disk3-"));
    let image = disk.unwrap().path();
    let script = format!("head -c 33554432 {} | sha256sum", image.display());
    let here = Command::new("sh").args(["-c", &script]).output().unwrap();
    let there = printed("B", "head -c 33554432 /dev/lab/passthrough | sha256sum");
    assert_eq!(there, String::from_utf8_lossy(&here.stdout).trim());
}

fn interrupts(device: &str) -> u64 {
    let script = format!(
        "awk '/{device}/ {{ for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i }} END {{ print n + 0 }}' /proc/interrupts"
    );
    printed("B", &script).parse().unwrap()
}

#[test]
fn disks_are_told_apart_in_every_domain() {
    let _turn = shared();
    // Each disk's first byte is its number.
    for (domain, disk, number) in [
        ("dom0", "measured", "1"),
        ("dom0", "load", "2"),
        ("A", "load", "2"),
        ("B", "measured", "1"),
        ("B", "passthrough", "3"),
    ] {
        let script = format!("od -An -tu1 -N1 /dev/lab/{disk} | tr -d ' '");
        assert_eq!(printed(domain, &script), number, "{domain} {disk}");
    }
}

#[test]
fn native_disk_scenario_gives_a_breakdown_in_dom0_and_in_a_guest() {
    let _turn = shared();
    let folder = scratch("lab-runs");
    for domain in ["dom0", "B"] {
        let out = folder.join(domain);
        let output = run_small(vec!["run", "--name", SHARED, "--in", domain], &out);
        assert_breakdown(&output, "6.1.");
        assert!(out.join("manifest.json").is_file());
    }
}

#[test]
fn guest_s_disks_show_the_event_channel_and_the_ring() {
    let _turn = shared();
    let folder = scratch("lab-guest-disks");
    for (domain, scenario, point) in [
        ("A", "scenarios/guest-vbd.toml", "blkfront.push"),
        ("B", "scenarios/guest-passthrough.toml", "blk.issue"),
    ] {
        let out = folder.join(domain);
        let mut args = vec!["run", "--name", SHARED, "--in", domain, scenario];
        args.extend(["--out", out.to_str().unwrap()]);
        args.extend(SMALL);
        let output = lab(&args);
        assert_breakdown(&output, "6.1.");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let stages = report["breakdowns"][0]["stages"].as_array().unwrap();
        let count_of = |from: &str, to: &str| {
            let mut stages = stages.iter();
            let found = stages.find(|stage| stage["from"] == from && stage["to"] == to);
            found.map_or(0, |stage| stage["count"].as_u64().unwrap())
        };
        // Nearly every request: an answer on the way to the ring's return leaves one out.
        assert!(count_of(point, "evtchn.upcall") >= 450, "{stages:#?}");
        assert!(count_of("evtchn.upcall", "irq.entry") >= 450, "{stages:#?}");
        let probes = printed(domain, "tracer probes disk/vbd");
        assert!(
            probes.contains("kretprobe blkif_queue_rq [xen_blkfront]"),
            "{probes}"
        );
    }
}

#[test]
fn second_up_is_the_same_lab_and_another_configuration_is_refused() {
    let _turn = shared();
    let before = status_of(SHARED).unwrap();
    let output = lab(&["up", "--name", SHARED]);
    assert!(output.status.success(), "{}", text(&output));
    let after = status_of(SHARED).unwrap();
    assert_eq!(before["qemu"], after["qemu"]);
    assert_eq!(
        after["domains"],
        serde_json::json!(["dom0", "A", "B", "peer"])
    );
    let output = lab(&["up", "--name", SHARED, "--kernel", "6.12"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output).contains("another configuration"),
        "{}",
        text(&output)
    );
}

#[test]
fn destroyed_guest_ends_its_commands_and_can_come_again() {
    let _turn = shared();
    let script = "echo started; sleep 3000";
    let mut waiting = command(&["exec", "--name", SHARED, "A", "--", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 8];
    let stdout = waiting.stdout.as_mut().unwrap();
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"started\n");
    printed("dom0", "xl destroy A");
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(97), "{}", text(&output));
    let output = exec("A", "true");
    assert_eq!(output.status.code(), Some(96), "{}", text(&output));
    printed("dom0", "xl create -q /share/guests/A.cfg");
    let start = Instant::now();
    while !exec("A", "true").status.success() {
        assert!(
            start.elapsed() < Duration::from_secs(900),
            "A does not come"
        );
        thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn interrupted_command_ends_in_its_domain() {
    let _turn = shared();
    for domain in ["dom0", "A"] {
        let mut waiting = command(&["exec", "--name", SHARED, domain, "--", "exec sleep 4321"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while !exec(domain, "pgrep -f 'sleep [4]321'").status.success() {
            assert!(start.elapsed() < Duration::from_secs(300));
        }
        interrupt(&waiting);
        waiting.wait().unwrap();
        let start = Instant::now();
        while exec(domain, "pgrep -f 'sleep [4]321'").status.success() {
            assert!(start.elapsed() < Duration::from_secs(300), "{domain}");
        }
    }
}

fn interrupt(child: &std::process::Child) {
    // SAFETY: kill takes plain numbers and touches no memory of this process.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) };
}

/// What a lab might leave: its folder, its namespace, processes that name its folder.
fn left_overs(name: &str) -> Vec<String> {
    let mut left = Vec::new();
    let folder = cache().with_file_name("labs").join(name);
    if folder.exists() {
        left.push(folder.display().to_string());
    }
    let namespace = PathBuf::from(format!("/run/netns/tracer-lab-{name}"));
    if namespace.exists() {
        left.push(namespace.display().to_string());
    }
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

#[test]
fn same_kernel_without_xen_gives_a_breakdown_and_a_killed_qemu_leaves_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let out = scratch("lab-native").join("run");
    let output = run_small(vec!["native", "--name", VICTIM], &out);
    assert_breakdown(&output, "6.1.");
    let name = format!("{VICTIM}-native");
    let pid = status_of(&name).unwrap()["qemu"].as_i64().unwrap();
    assert!(!left_overs(&name).is_empty());
    // SAFETY: kill takes plain numbers and touches no memory of this process.
    unsafe { libc::kill(i32::try_from(pid).unwrap(), libc::SIGKILL) };
    let output = lab(&["exec", "--name", VICTIM, "native", "--", "true"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("is not up"), "{}", text(&output));
    assert!(lab(&["down", "--name", VICTIM]).status.success());
    assert_eq!(left_overs(&name), Vec::<String>::new());
}

#[test]
fn interrupted_or_killed_boot_leaves_nothing_after_the_next_down() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for signal in [libc::SIGINT, libc::SIGKILL] {
        let mut up = command(&["up", "--name", VICTIM])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while status_of(VICTIM).is_none_or(|lab| lab["qemu"].is_null()) {
            assert!(start.elapsed() < Duration::from_secs(900), "no QEMU");
            thread::sleep(Duration::from_millis(100));
        }
        // SAFETY: kill takes plain numbers and touches no memory of this process.
        unsafe { libc::kill(up.id().cast_signed(), signal) };
        up.wait().unwrap();
        if signal == libc::SIGKILL {
            assert!(lab(&["down", "--name", VICTIM]).status.success());
        }
        assert_eq!(left_overs(VICTIM), Vec::<String>::new(), "signal {signal}");
    }
}

#[test]
fn newer_kernel_gives_a_row_of_the_matrix() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = scratch("lab-matrix");
    let out = folder.join("matrix");
    let mut args = vec![
        "matrix",
        "--name",
        "test-matrix",
        "--kernels=6.12",
        "--xens=4.17",
    ];
    args.extend(["--in", "B", "scenarios/native-disk.toml", "--out"]);
    args.extend([out.to_str().unwrap()]);
    args.extend(SMALL);
    let output = lab(&args);
    assert!(output.status.success(), "{}", text(&output));
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        table.contains("4.17  6.12   disk/native native loop0 read"),
        "{table}"
    );
    assert!(table.lines().any(|line| line.contains(" 500 ")), "{table}");
    assert_eq!(left_overs("test-matrix-4-17-6-12"), Vec::<String>::new());
}

#[test]
fn full_disk_is_told_before_any_work() {
    let folder = scratch("lab-full");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&folder)
        .status()
        .unwrap();
    assert!(mounted.success());
    let output = command(&["up", "--name", VICTIM])
        .env("TRACER_LAB_DIR", &folder)
        .output()
        .unwrap();
    Command::new("umount").arg(&folder).status().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = text(&output);
    assert!(text.contains("MiB are needed"), "{text}");
    assert!(text.contains("TRACER_LAB_DIR"), "{text}");
}

#[test]
fn killed_set_up_leaves_no_process_and_no_mount() {
    let folder = scratch("lab-killed");
    let mut up = command(&["up", "--name", VICTIM])
        .env("TRACER_LAB_DIR", &folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    // The first packages are being unpacked.
    while !partial_root(&folder).is_some_and(|root| root.join("usr/bin").exists()) {
        assert!(up.try_wait().unwrap().is_none(), "ended by itself");
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "no root file system"
        );
        thread::sleep(Duration::from_millis(50));
    }
    up.kill().unwrap();
    up.wait().unwrap();
    let folder_name = folder.to_str().unwrap();
    let start = Instant::now();
    while Command::new("pgrep")
        .args(["-f", folder_name])
        .output()
        .unwrap()
        .status
        .success()
    {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "processes are left"
        );
        thread::sleep(Duration::from_millis(50));
    }
    assert!(
        !fs::read_to_string("/proc/mounts")
            .unwrap()
            .contains(folder_name)
    );
    let _ = fs::remove_dir_all(&folder);
}

fn partial_root(folder: &Path) -> Option<PathBuf> {
    let entries = folder.join("cache").read_dir().ok()?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths.find(|path| path.extension().is_some_and(|end| end == "partial"))
}

#[test]
fn missing_program_is_named() {
    let folder = scratch("lab-path");
    let output = command(&["up", "--name", VICTIM])
        .env("PATH", &folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output).contains("qemu-system-x86_64"),
        "{}",
        text(&output)
    );
}
