//! What a run does to guests beside tracing them: it creates, pins and feeds them, and puts everything back,
//! whatever ends it.

use std::fs::{self, File};
use std::panic::{catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};

use tracer_analysis::Report;

use crate::support::*;

/// Dom0 and a guest that is created for the run, gets a card that Dom0's driver has, and is pinned; A is
/// pinned, too.
const CREATED: &str = r#"
schema = 1
name = "created"

[[domain]]
name = "dom0"

[[domain]]
name = "A"
agent = "console"
vcpu_pin = ["2"]
datapaths = []

[[domain]]
name = "C"
agent = "console"
create = "/share/guests/C.cfg"
pci = ["00:0C.0"]
vcpu_pin = ["3"]

[workload]
domain = "C"
kind = "dd"
target = "/dev/xvdt"
block_size = "4KiB"
count = 300
direct = true

[run]
iterations = 2
warm_up = 0

[probes]
datapaths = ["disk/vbd"]
"#;

/// Runs a test's body, and once more where QEMU itself crashed meanwhile: before 8.2 it can when a card's addresses move
/// (docs/lab.md). What the body says of anything else stands.
fn with_a_card_that_moves(body: fn()) {
    let _turn = shared();
    let Err(failure) = catch_unwind(body) else {
        return;
    };
    if !qemu_crashed(this_lab()) {
        resume_unwind(failure);
    }
    eprintln!("QEMU crashed; once more");
    bring_up();
    body();
}

/// What must be the same before and after: domains, where their virtual CPUs may run, devices and their
/// drivers, what is attached, what a run has written down.
fn state() -> String {
    printed(
        "dom0",
        "xl list | awk 'NR > 1 { print $1, $2, $4 }'; xl vcpu-list | awk 'NR > 1 { print $1, $3, $(NF - 2) }'; \
         xl pci-assignable-list; \
         for device in /sys/bus/pci/devices/*; do echo ${device##*/} $(readlink $device/driver); done; \
         bpftool prog list; ls /run/tracer 2>/dev/null || true",
    )
}

/// A run in the background.
struct Running {
    child: Child,
    folder: PathBuf,
}

impl Running {
    fn start(name: &str, scenario: &str, more: &[&str]) -> Self {
        let folder = scratch(name);
        let file = folder.join("scenario.toml");
        fs::write(&file, scenario).unwrap();
        let out = folder.join("run");
        let mut args = vec!["run", "--name", this_lab(), file.to_str().unwrap(), "--out"];
        args.extend([out.to_str().unwrap(), "--", "--json"]);
        args.extend(more);
        let child = command(&args)
            .stdout(File::create(folder.join("stdout")).unwrap())
            .stderr(File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap()
    }

    fn wait_for(&mut self, words: &str) {
        for _ in 0..1200 {
            if self.said().contains(words) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.said());
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        panic!("it did not say {words:?}: {}", self.said());
    }

    fn end(mut self) -> (ExitStatus, String, Option<Report>) {
        let status = self.child.wait().unwrap();
        let stdout = fs::read(self.folder.join("stdout")).unwrap();
        (status, self.said(), serde_json::from_slice(&stdout).ok())
    }
}

fn total(report: &Report) -> u64 {
    let mut breakdowns = report.breakdowns.iter();
    let of_c = breakdowns.find(|breakdown| breakdown.domain == "C");
    of_c.map_or(0, |of_c| of_c.total.count)
}

#[test]
fn created_guest_is_pinned_and_fed_and_everything_is_put_back() {
    with_a_card_that_moves(|| {
        let before = state();
        let mut run = Running::start("lab-created", CREATED, &[]);
        run.wait_for("iteration 1 of 2");
        let during = state();
        for line in ["A 0 2", "C 0 3"] {
            assert!(during.lines().any(|has| has == line), "{line}: {during}");
        }
        assert!(
            during.contains("0000:00:0c.0 ../../../bus/pci/drivers/pciback"),
            "{during}"
        );
        let (status, said, report) = run.end();
        assert_eq!(status.code(), Some(0), "{said}");
        let report = report.unwrap();
        assert!(total(&report) >= 594, "99% of 600: {report:#?}");
        assert_eq!(state(), before, "{said}");
    });
}

/// A run that a script in Dom0 ends is partial, says why, has its first iteration, and puts everything back.
fn assert_ended_early(folder: &str, script: &str, because: &str) {
    let before = state();
    let mut run = Running::start(folder, CREATED, &["--iterations=1000"]);
    run.wait_for("iteration 2 of");
    printed("dom0", script);
    let (status, said, report) = run.end();
    assert_eq!(status.code(), Some(2), "{said}");
    let report = report.unwrap();
    assert!(partial(&report).contains(because), "{said}");
    assert!(total(&report) >= 297, "the first iteration: {report:#?}");
    assert_eq!(state(), before, "{said}");
}

#[test]
fn interrupted_run_puts_everything_back() {
    with_a_card_that_moves(|| {
        assert_ended_early("lab-interrupted", "pkill -INT -f '^tracer run '", "SIGINT");
    });
}

#[test]
fn interrupted_command_brings_the_partial_run_back() {
    let _turn = shared();
    let scenario = fs::read_to_string("../scenarios/native-disk.toml").unwrap();
    let more = ["--iterations=1000", "--set=workload.count=200"];
    let mut run = Running::start("lab-ctrl-c", &scenario, &more);
    run.wait_for("iteration 2 of");
    interrupt(&run.child);
    let folder = run.folder.join("run");
    let (status, said, _) = run.end();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("lab: the run is in "), "{said}");
    let output = tracer()
        .arg("report")
        .arg(folder)
        .arg("--format=json")
        .output();
    let report = printed_report(&output.unwrap());
    assert!(partial(&report).contains("SIGINT"), "{said}");
    assert!(report.breakdowns[0].total.count >= 200, "{said}");
}

/// Its disk is in Dom0's memory: no device writes into memory that has new owners.
#[test]
fn run_whose_measured_guest_is_destroyed_ends_with_what_it_has() {
    with_a_card_that_moves(|| {
        assert_ended_early("lab-destroyed", "xl destroy C", "domain C");
    });
}

#[test]
fn next_run_puts_back_what_a_killed_one_left() {
    with_a_card_that_moves(|| {
        let before = state();
        let mut run = Running::start("lab-killed-run", CREATED, &["--iterations=1000"]);
        run.wait_for("iteration 1 of");
        printed("dom0", "pkill -KILL -f '^tracer run '");
        let (status, said, _) = run.end();
        assert_ne!(status.code(), Some(0), "{said}");
        assert!(
            printed("dom0", "xl list").contains("\nC "),
            "nobody has ended it"
        );
        let output = run_small(
            vec!["run", "--name", this_lab()],
            &scratch("lab-after-killed").join("run"),
        );
        assert!(output.status.success(), "{}", text(&output));
        assert!(
            text(&output).contains("removing what process"),
            "{}",
            text(&output)
        );
        assert_eq!(state(), before);
    });
}
