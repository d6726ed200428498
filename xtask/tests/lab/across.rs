//! Guests' disk requests through both kernels, from a tracer in Dom0.

use tracer_analysis::Report;

use crate::support::*;

/// Runs a scenario of several domains, small, and returns its report.
fn report(name: &str, scenario: &str, more: &[&str]) -> Report {
    let out = scratch(name).join("run");
    let mut args = vec!["run", "--name", this_lab(), scenario, "--out"];
    args.extend([out.to_str().unwrap()]);
    args.extend(SMALL);
    args.extend(more);
    let output = lab(&args);
    assert!(output.status.success(), "{}", text(&output));
    printed_report(&output)
}

#[test]
fn virtual_disk_is_followed_through_both_kernels() {
    let _turn = shared();
    let report = report("lab-vbd", "scenarios/disk-vbd.toml", &[]);
    let guest = domain(&report, "B");
    let joined = join(guest).joined;
    assert!(joined >= 495, "99% of 500: {guest:#?}");
    assert_clock(guest);
    assert!(domain(&report, "dom0").cost.bpf_runs > 0);
    let breakdown = &report.breakdowns[0];
    assert_eq!(
        (&*breakdown.datapath, &*breakdown.domain),
        ("disk/vbd", "B")
    );
    assert_adds_up(breakdown);
    for point in [
        "blkfront.push",
        "blkback.consume",
        "dom0.issue",
        "blkback.response",
        "blk.complete",
    ] {
        assert!(
            passed(breakdown, point) * 100 >= joined * 95,
            "{point}: {breakdown:#?}"
        );
    }
    for (domain, name) in [("dom0", "blkif-backend"), ("dom0", "ahci"), ("B", "blkif")] {
        assert_interrupts(&report, domain, name);
    }
}

#[test]
fn passed_through_disk_is_followed_from_dom0() {
    let _turn = shared();
    let report = report("lab-passthrough", "scenarios/disk-passthrough.toml", &[]);
    let breakdown = &report.breakdowns[0];
    assert_eq!(breakdown.total.count, 500, "{report:#?}");
    assert_adds_up(breakdown);
    assert!(passed(breakdown, "evtchn.upcall") >= 450, "{breakdown:#?}");
    assert_interrupts(&report, "B", "ahci");
}

/// A second guest is traced, too, and is destroyed meanwhile: the rest goes on.
#[test]
fn guest_that_dies_ends_its_own_part_only() {
    let _turn = shared();
    let folder = scratch("lab-dying");
    let scenario = folder.join("dying.toml");
    let both = std::fs::read_to_string("../scenarios/disk-vbd.toml").unwrap();
    let both = both.replace(
        "[workload]",
        "[[domain]]\nname = \"A\"\nagent = \"console\"\n\n[workload]",
    );
    std::fs::write(&scenario, both).unwrap();
    let out = folder.join("run");
    let mut args = vec![
        "run",
        "--name",
        this_lab(),
        scenario.to_str().unwrap(),
        "--out",
    ];
    args.extend([out.to_str().unwrap(), "--", "--json", "--iterations=3"]);
    args.extend(["--set=workload.count=1000", "--set=run.warm_up=0"]);
    let stderr = folder.join("stderr");
    let run = command(&args)
        .stdout(std::fs::File::create(folder.join("stdout")).unwrap())
        .stderr(std::fs::File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&stderr).unwrap();
    wait_until(|| said().contains("iteration 1 of"));
    printed("dom0", "xl destroy A");
    let output = run.wait_with_output().unwrap();
    printed("dom0", "xl create -q /share/guests/A.cfg 2>/dev/null");
    assert_eq!(output.status.code(), Some(2), "{}", said());
    assert!(said().contains("going on without domain A"), "{}", said());
    let report: Report =
        serde_json::from_slice(&std::fs::read(folder.join("stdout")).unwrap()).unwrap();
    assert!(partial(&report).contains("domain A"), "{report:#?}");
    assert_eq!(report.iterations.len(), 3);
    let joined = join(domain(&report, "B")).joined;
    assert!(joined >= 2970, "{joined} of 3000");
    wait_until(|| exec("A", "true").status.success());
}
