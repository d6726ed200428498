//! Whatever goes wrong: a clear error or a partial run, never a panic, nothing left attached or
//! behind.
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
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use support::{
    alone, assert_nothing_attached, disk, has, may_trace, programs_left, scenario, tracer, words,
};

/// A load that takes far longer than the test.
fn endless(directory: &str) -> String {
    let workload = "kind = \"dd\"\ntarget = \"@disk\"\nblock_size = \"4KiB\"\ncount = 100000000\ndirect = true";
    disk(workload, directory, "[run]\niterations = 1\nwarm_up = 0")
}

fn loop_devices() -> String {
    let output = Command::new("losetup").arg("--all").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A run whose loader was killed.
struct Killed {
    code: Option<i32>,
    loader: u32,
    folder: tempfile::TempDir,
}

/// Starts an endless run and kills its loader.
fn killed_by(signal: &str, text: &str) -> Killed {
    let folder = tempfile::tempdir().unwrap();
    let mut child = tracer()
        .args(["run", "--out"])
        .arg(folder.path().join("run"))
        .arg(scenario(folder.path(), text))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while programs_left().is_empty() && start.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_secs(1));
    Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap();
    Killed {
        code: child.wait().unwrap().code(),
        loader: child.id(),
        folder,
    }
}

fn report_of(folder: &Path) -> serde_json::Value {
    let output = tracer()
        .args(["report", "--format", "json"])
        .arg(folder.join("run"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn an_interrupted_run_keeps_what_it_has() {
    if !may_trace("an_interrupted_run_keeps_what_it_has") {
        return;
    }
    let _alone = alone();
    let before = loop_devices();
    let Killed { code, folder, .. } = killed_by("-INT", &endless("/var/tmp"));
    assert_eq!(code, Some(2));
    assert_nothing_attached();
    assert_eq!(loop_devices(), before);
    let report = report_of(folder.path());
    assert!(
        report["partial"].as_str().unwrap().contains("SIGINT"),
        "{}",
        report["partial"]
    );
    assert!(report["domains"][0]["spans"].as_u64().unwrap() > 100);
    support::assert_conserved(&report);
}

#[test]
fn a_run_interrupted_while_it_is_set_up_leaves_nothing_behind() {
    if !may_trace("a_run_interrupted_while_it_is_set_up_leaves_nothing_behind") {
        return;
    }
    let _alone = alone();
    let before = loop_devices();
    let folder = tempfile::tempdir().unwrap();
    // Far more than is written by the time of the signal.
    let text = endless("/var/tmp").replace("64MiB", "16GiB");
    let mut child = tracer()
        .args(["run", "--out"])
        .arg(folder.path().join("run"))
        .arg(scenario(folder.path(), &text))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let manifest = folder.path().join("run/manifest.json");
    let start = Instant::now();
    while !manifest.exists() && start.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(200));
    assert_eq!(loop_devices(), before, "the file is still being written");
    let interrupted = Instant::now();
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert!(interrupted.elapsed() < Duration::from_secs(10));
    assert_eq!(loop_devices(), before);
    assert_eq!(report_of(folder.path())["partial"], "interrupted by SIGINT");
}

#[test]
fn a_killed_run_leaves_nothing_behind_and_is_marked_partial() {
    if !may_trace("a_killed_run_leaves_nothing_behind_and_is_marked_partial") {
        return;
    }
    let _alone = alone();
    let before = loop_devices();
    let Killed { code, folder, .. } = killed_by("-KILL", &endless("/var/tmp"));
    assert_eq!(code, None);
    assert_nothing_attached();
    for _ in 0..50 {
        if loop_devices() == before {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(loop_devices(), before);
    assert!(report_of(folder.path())["partial"].is_string());
}

/// Namespaces and files, unlike loop devices, outlive a process: the ledger tells the next run.
#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    let test = "the_next_run_removes_what_a_killed_one_left";
    if !may_trace(test) || !has("ip", test) {
        return;
    }
    let _alone = alone();
    let text = "schema = 1\nname = \"test\"\n[[domain]]\nname = \"native\"\n[[resource]]\nname = \"data\"\nkind = \"file\"\nsize = \"64KiB\"\n[[resource]]\nname = \"link\"\nkind = \"veth\"\nleft = { address = \"10.92.0.1/24\" }\nright = { address = \"10.92.0.2/24\" }\n[workload]\nkind = \"tcp-rr\"\nfrom = \"@link.left\"\nto = \"@link.right\"\nduration = \"600s\"\n[probes]\ndatapaths = [\"net-tx/native\"]\n";
    let Killed { loader, .. } = killed_by("-KILL", text);
    let left = [
        format!("/run/tracer/{loader}"),
        format!("/run/netns/tracer-link-left-{loader}"),
        format!("/run/netns/tracer-link-right-{loader}"),
        format!("/var/tmp/tracer-data-{loader}"),
    ];
    let there = || left.each_ref().map(|path| Path::new(path).exists());
    assert_eq!(there(), [true; 4], "{left:?}");
    assert_nothing_attached();
    let workload = "kind = \"dd\"\ntarget = \"@disk\"\nblock_size = \"4KiB\"\ncount = 10";
    let next = tempfile::tempdir().unwrap();
    support::run(
        next.path(),
        &disk(workload, "/var/tmp", "[run]\niterations = 1\nwarm_up = 0"),
    );
    assert_eq!(there(), [false; 4], "{left:?}");
}

#[test]
fn a_full_disk_under_the_run_directory_ends_the_run_clearly() {
    let test = "a_full_disk_under_the_run_directory_ends_the_run_clearly";
    if !may_trace(test) || !has("mount", test) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(&small)
        .status()
        .unwrap();
    assert!(mounted.success());
    let output = tracer()
        .args(["run", "--out"])
        .arg(small.join("run"))
        .arg(scenario(folder.path(), &endless("/var/tmp")))
        .output()
        .unwrap();
    let text = words(&output);
    let _ = Command::new("umount").arg(&small).status();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("PARTIAL RUN") && text.contains("No space left on device"),
        "{text}"
    );
    assert_nothing_attached();
}

#[test]
fn without_rights_it_says_what_to_do() {
    let test = "without_rights_it_says_what_to_do";
    if !may_trace(test) || !has("setpriv", test) {
        return;
    }
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    // The user must be able to reach the program and the scenario.
    let program = folder.path().join("tracer");
    std::fs::copy(env!("CARGO_BIN_EXE_tracer"), &program).unwrap();
    let path = scenario(folder.path(), &endless("/var/tmp"));
    let _ = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(folder.path())
        .status();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .arg("run")
        .arg(&path)
        .output()
        .unwrap();
    let text = words(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("must be root") && text.contains("sudo"),
        "{text}"
    );
}

#[test]
fn without_btf_it_says_what_is_missing() {
    let test = "without_btf_it_says_what_is_missing";
    if !may_trace(test) || !has("unshare", test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = scenario(folder.path(), &endless("/var/tmp"));
    let script = format!(
        "mount -t tmpfs tmpfs /sys/kernel/btf && {} run {} --out {}",
        env!("CARGO_BIN_EXE_tracer"),
        path.display(),
        folder.path().join("run").display()
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .output()
        .unwrap();
    let text = words(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("CONFIG_DEBUG_INFO_BTF"), "{text}");
}

#[test]
fn a_device_that_is_not_there_is_named() {
    if !may_trace("a_device_that_is_not_there_is_named") {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let text = "schema = 1\nname = \"t\"\n[[domain]]\nname = \"native\"\n[workload]\nkind = \"dd\"\ntarget = \"/dev/nothing\"\nblock_size = 512\ncount = 1\n[probes]\ndatapaths = [\"disk/native\"]\n";
    let output = tracer()
        .args(["run", "--out"])
        .arg(folder.path().join("run"))
        .arg(scenario(folder.path(), text))
        .output()
        .unwrap();
    let text = words(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("/dev/nothing") && text.contains("workload.target"),
        "{text}"
    );
    let partial = report_of(folder.path())["partial"].to_string();
    assert!(
        partial.contains("nothing was measured") && partial.contains("/dev/nothing"),
        "{partial}"
    );
    assert_nothing_attached();
}

#[test]
fn a_ring_buffer_too_small_is_said_first() {
    if !may_trace("a_ring_buffer_too_small_is_said_first")
        || !has("fio", "a_ring_buffer_too_small_is_said_first")
    {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let workload = "kind = \"command\"\nprogram = \"fio\"\nargs = [\"--name=t\", \"--filename=@disk\", \"--rw=randread\", \"--bs=4k\", \"--direct=1\", \"--ioengine=libaio\", \"--iodepth=16\", \"--time_based\", \"--runtime=1\"]";
    let text = disk(workload, "/dev/shm", "[run]\niterations = 1\nwarm_up = 0")
        + "ring_buffer = \"4KiB\"\n";
    let output = tracer()
        .args(["run", "--out"])
        .arg(folder.path().join("run"))
        .arg(scenario(folder.path(), &text))
        .output()
        .unwrap();
    let text = words(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.starts_with("WARNING: native:") && stdout.contains("ring_buffer"),
        "{text}"
    );
    assert_nothing_attached();
}

#[test]
fn an_exceeded_threshold_is_exit_code_1() {
    if !may_trace("an_exceeded_threshold_is_exit_code_1") {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let workload =
        "kind = \"dd\"\ntarget = \"@disk\"\nblock_size = \"4KiB\"\ncount = 200\ndirect = true";
    let text = disk(workload, "/var/tmp", "[run]\niterations = 1\nwarm_up = 0")
        + "[[threshold]]\ndatapath = \"disk/native\"\nstatistic = \"p50\"\nat_most = \"1ns\"\noperation = \"read\"\n";
    let output = tracer()
        .args(["run", "--out"])
        .arg(folder.path().join("run"))
        .arg(scenario(folder.path(), &text))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
}
