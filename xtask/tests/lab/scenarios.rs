//! Scenarios in the lab: breakdowns from each domain's own kernel.

use std::process::Stdio;

use tracer_analysis::Breakdown;

use crate::support::*;

/// Requests that had this stage.
fn had_stage(breakdown: &Breakdown, from: &str, to: &str) -> u64 {
    let mut stages = breakdown.stages.iter();
    let found = stages.find(|stage| stage.from == from && stage.to == to);
    found.map_or(0, |stage| stage.figures.count)
}

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
        let breakdown = &printed_report(&output).breakdowns[0];
        // Nearly every request: an answer on the way to the ring's return leaves one out.
        for (from, to) in [(point, "evtchn.upcall"), ("evtchn.upcall", "irq.entry")] {
            let seen = had_stage(breakdown, from, to);
            assert!(seen >= 450, "{from} to {to}: {:#?}", breakdown.stages);
        }
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
    let report = printed_report(&output);
    let mut breakdowns = report.breakdowns.iter();
    let of_a = breakdowns.find(|of| of.device.ends_with(" xvda"));
    let of_a = of_a.unwrap_or_else(|| panic!("{report:#?}"));
    let count = of_a.total.count;
    assert!(count > 50, "{report:#?}");
    for (from, to) in [
        ("dom0.upcall", "blkback.interrupt"),
        ("blkback.interrupt", "blkback.run"),
        ("blkback.consume", "blkback.submit"),
        ("blkback.submit", "dom0.issue"),
        ("blkback.complete", "blkback.response"),
    ] {
        let seen = had_stage(of_a, from, to);
        assert!(
            seen * 10 > count * 3,
            "{from} to {to}: {seen} of {count}; {:#?}",
            of_a.stages
        );
    }
    assert_bindings(this_lab(), "dom0");
    let probes = printed("dom0", "tracer probes disk/vbd-backend");
    for binding in ["xen_blkbk_map [xen_blkback]", "make_response [xen_blkback]"] {
        assert!(probes.contains(binding), "{probes}");
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
