//! What is killed, interrupted or missing leaves nothing behind and is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;

/// The paper's disk without Xen, with the interrupts of its tables 2 and 3.
fn assert_paper_s_native_case() {
    let out = scratch("lab-native-paper").join("run");
    let scenario = "scenarios/paper/disk-native.toml";
    let mut args = vec!["native", "--name", victim(), scenario, "--out"];
    args.extend([out.to_str().unwrap(), "--", "--json", "--profile=quick"]);
    args.push("--set=workload.count=300");
    let output = lab(&args);
    assert!(output.status.success(), "{}", text(&output));
    let report = printed_report(&output);
    assert_eq!(report.breakdowns[0].total.count, 900, "{report:#?}");
    assert_adds_up(&report.breakdowns[0]);
    assert_interrupts(&report, "native", "ahci");
}

/// A lab that does not come up.
const SET_UP: &str = "test-set-up";

#[test]
fn same_kernel_without_xen_gives_a_breakdown_and_a_killed_qemu_leaves_nothing() {
    let _turn = turn();
    let out = scratch("lab-native").join("run");
    let output = run_small(vec!["native", "--name", victim()], &out);
    assert_breakdown(&output, "6.1.");
    assert_paper_s_native_case();
    let name = format!("{}-native", victim());
    let pid = status_of(&name).unwrap()["qemu"].as_i64().unwrap();
    assert!(!left_overs(&name).is_empty());
    // SAFETY: kill takes plain numbers and touches no memory of this process.
    unsafe { libc::kill(i32::try_from(pid).unwrap(), libc::SIGKILL) };
    let output = lab(&["exec", "--name", victim(), "native", "--", "true"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("is not up"), "{}", text(&output));
    assert!(lab(&["down", "--name", victim()]).status.success());
    assert_eq!(left_overs(&name), Vec::<String>::new());
}

#[test]
fn interrupted_or_killed_boot_leaves_nothing_after_the_next_down() {
    // The shared lab's state is saved, if it is up: that of a victim is restored, or not.
    let _turn = shared();
    for (signal, more) in [
        (libc::SIGINT, &["--cold"][..]),
        (libc::SIGKILL, &["--cold"]),
        (libc::SIGINT, &[]),
    ] {
        let mut up = command(&[&["up", "--name", victim()], more].concat())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while status_of(victim()).is_none_or(|lab| lab["qemu"].is_null()) {
            assert!(up.try_wait().unwrap().is_none(), "ended by itself");
            assert!(start.elapsed() < Duration::from_secs(900), "no QEMU");
            thread::sleep(Duration::from_millis(100));
        }
        // SAFETY: kill takes plain numbers and touches no memory of this process.
        unsafe { libc::kill(up.id().cast_signed(), signal) };
        up.wait().unwrap();
        if signal == libc::SIGKILL {
            assert!(lab(&["down", "--name", victim()]).status.success());
        }
        assert_eq!(
            left_overs(victim()),
            Vec::<String>::new(),
            "signal {signal}"
        );
    }
}

#[test]
fn full_disk_is_told_before_any_work_and_a_lab_of_that_name_elsewhere_stays_up() {
    let _turn = shared();
    let before = status_of(this_lab()).unwrap();
    let folder = scratch("lab-full");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&folder)
        .status()
        .unwrap();
    assert!(mounted.success());
    let output = command(&["up", "--name", this_lab()])
        .env("TRACER_LAB_DIR", &folder)
        .output()
        .unwrap();
    Command::new("umount").arg(&folder).status().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = text(&output);
    assert!(text.contains("MiB are needed"), "{text}");
    assert!(text.contains("TRACER_LAB_DIR"), "{text}");
    assert!(!before["qemu"].is_null(), "{before}");
    assert_eq!(status_of(this_lab()).unwrap(), before);
}

#[test]
fn killed_set_up_leaves_no_process_and_no_mount() {
    let _turn = turn();
    let folder = scratch("lab-set-up-killed");
    let mut up = command(&["up", "--name", SET_UP])
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
    let output = command(&["up", "--name", SET_UP])
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
