//! Scenarios in the lab: breakdowns from each domain's own kernel.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tracer_common::{
    point::{Kind, Point},
    record::Record,
};

use crate::network::assert_joined;
use crate::support::*;

#[test]
fn native_disk_scenario_gives_a_breakdown_in_dom0_and_in_a_guest() {
    let _turn = shared();
    let folder = scratch("lab-runs");
    for domain in ["dom0", "B"] {
        let out = folder.join(domain);
        let output = run_small(vec!["run", "--name", this_lab(), "--in", domain], &out);
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
        let mut args = vec!["run", "--name", this_lab(), "--in", domain, scenario];
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
        assert_bindings(this_lab(), domain);
    }
}

#[test]
fn dom0_shows_what_the_backend_does_for_a_guest() {
    let _turn = shared();
    let read = "while :; do dd if=/dev/lab/load of=/dev/null bs=128k count=200 iflag=direct; done";
    let mut load = command(&["exec", "--name", this_lab(), "A", "--", read])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = scratch("lab-backend").join("run");
    let scenario = "scenarios/dom0-backend.toml";
    let mut args = vec!["run", "--name", this_lab(), scenario, "--out"];
    args.extend([out.to_str().unwrap(), "--", "--json", "--iterations=1"]);
    let output = lab(&args);
    interrupt(&load);
    load.wait().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut breakdowns = report["breakdowns"].as_array().unwrap().iter();
    let of_a = breakdowns.find(|of| of["device"].as_str().unwrap().ends_with(" xvda"));
    let of_a = of_a.unwrap_or_else(|| panic!("{report:#}"));
    let count = of_a["total"]["count"].as_u64().unwrap();
    assert!(count > 50, "{report:#}");
    let stages = of_a["stages"].as_array().unwrap();
    for (from, to) in [
        ("dom0.upcall", "blkback.interrupt"),
        ("blkback.interrupt", "blkback.run"),
        ("blkback.consume", "blkback.submit"),
        ("blkback.submit", "dom0.issue"),
        ("blkback.complete", "blkback.response"),
    ] {
        let stage = stages.iter().find(|s| s["from"] == from && s["to"] == to);
        let seen = stage.map_or(0, |stage| stage["count"].as_u64().unwrap());
        assert!(
            seen * 10 > count * 3,
            "{from} to {to}: {seen} of {count}; {stages:#?}"
        );
    }
    assert_bindings(this_lab(), "dom0");
    let probes = printed("dom0", "tracer probes disk/vbd-backend");
    for binding in ["xen_blkbk_map [xen_blkback]", "make_response [xen_blkback]"] {
        assert!(probes.contains(binding), "{probes}");
    }
}

/// Dom0's packets have the interrupt of what they came by: the card's on the way to the guest, netback's on the way from
/// it. Since Linux 6.4 the soft interrupt that one raised polls the other, too, if that comes while it runs.
fn assert_of_their_own_interrupts(report: &Value, run: &Path) {
    let interrupts = report["interrupts"].as_array().unwrap();
    let name = |irq: u32| {
        let mut own = interrupts.iter();
        let found = own.find(|found| found["domain"] == "dom0" && found["irq"] == irq);
        found.map_or("", |found| found["name"].as_str().unwrap())
    };
    let at = |record: &Record, point| record.at[Kind::NetForward.index_of(point)];
    let (mut of_card, mut of_netback, mut late) = (0, 0, 0);
    for record in records(run, "dom0") {
        if record.kind != Kind::NetForward as u8 || record.irq == 0 {
            continue;
        }
        late += u32::from(at(&record, Point::Dom0Softirq) == 0);
        let is_to_guest = at(&record, Point::NetbackDequeue) != 0;
        *if is_to_guest {
            &mut of_card
        } else {
            &mut of_netback
        } += 1;
        let of = name(record.irq);
        assert_eq!(of.starts_with("vif"), !is_to_guest, "{of}: {record:?}");
    }
    eprintln!(
        "{of_card} of the card, {of_netback} of netback, {late} polled without a soft interrupt of their own"
    );
    assert!(of_card >= 30 && of_netback >= 30, "{of_card}, {of_netback}");
}

/// With these kernels every point is traced in each domain, and the guest's requests and packets are followed through both.
fn assert_every_binding(dom0: &str, guests: &str) {
    let _turn = turn();
    let _turn = turn();
    let name = "test-newer";
    assert!(lab(&["down", "--name", name]).status.success());
    let folder = scratch("lab-newer");
    let kernels = [
        format!("--dom0-kernel={dom0}"),
        format!("--guest-kernel={guests}"),
    ];
    let options = || {
        let mut options = vec!["run", "--name", name];
        options.extend(kernels.iter().map(String::as_str));
        options
    };
    let run = |scenario: &str, args: &[&str]| -> Value {
        let out = folder.join(scenario);
        let file = format!("scenarios/{scenario}.toml");
        let mut all = options();
        all.extend([&file, "--out", out.to_str().unwrap()]);
        all.extend(["--", "--json", "--iterations=1", "--set=run.warm_up=0"]);
        all.extend(args);
        let output = lab(&all);
        assert!(output.status.success(), "{}", text(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["warnings"], Value::Array(Vec::new()), "{report:#}");
        for (name, kernel) in [("dom0", dom0), ("B", guests)] {
            let release = domain(&report, name)["host"]["kernel"].as_str().unwrap();
            assert!(release.starts_with(&format!("{kernel}.")), "{release}");
        }
        report
    };
    assert_joined(&run("disk-vbd", &["--set=workload.count=500"]), "B");
    let rr = ["--profile=rr", "--set=workload.duration=1s"];
    let packets = run("nic-vif", &rr);
    assert_joined(&packets, "B");
    assert_of_their_own_interrupts(&packets, &folder.join("nic-vif"));
    let mut in_guest = options();
    in_guest.extend(["--in", "A"]);
    let output = run_small(in_guest, &folder.join("A"));
    assert_breakdown(&output, &format!("{guests}."));
    for domain in ["dom0", "A", "B"] {
        assert_bindings(name, domain);
    }
    assert!(lab(&["down", "--name", name]).status.success());
    assert_eq!(left_overs(name), Vec::<String>::new());
}

#[test]
fn newer_kernels_have_every_binding_in_each_domain() {
    assert_every_binding("6.12", "7.3");
}

#[test]
#[ignore = "long: a boot for each kernel"]
fn each_newer_kernel_has_every_binding_in_each_domain() {
    for kernel in ["6.12", "7.2", "7.3"] {
        assert_every_binding(kernel, kernel);
    }
}

#[test]
#[ignore = "long: a boot of its own"]
fn newer_kernel_gives_a_row_of_the_matrix() {
    let _turn = turn();
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
