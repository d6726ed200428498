//! The domains of a lab: what is in them, commands, guests that end.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;

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
            "exec",
            "--name",
            this_lab(),
            domain,
            "--",
            "printf",
            "%s|",
            "a b",
            "$HOME",
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
fn second_up_is_the_same_lab_and_another_configuration_is_refused() {
    let _turn = shared();
    let before = status_of(this_lab()).unwrap();
    let output = lab(&["up", "--name", this_lab()]);
    assert!(output.status.success(), "{}", text(&output));
    let after = status_of(this_lab()).unwrap();
    assert_eq!(before["qemu"], after["qemu"]);
    assert_eq!(
        after["domains"],
        serde_json::json!(["dom0", "A", "B", "peer"])
    );
    let output = lab(&["up", "--name", this_lab(), "--kernel", "6.12"]);
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
    let mut waiting = command(&["exec", "--name", this_lab(), "A", "--", script])
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
        let mut waiting = command(&[
            "exec",
            "--name",
            this_lab(),
            domain,
            "--",
            "exec sleep 4321",
        ])
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
