//! The paper's disk cases: one of them; all files with all of their loads, if `TRACER_PAPER_CASES=all`.

use crate::support::*;

/// Scenario, the handler of its device in the measured domain, its loads: the last file's first in every test run.
const CASES: [(&str, &str, &str, [&str; 5]); 3] = [
    (
        "disk-dom0",
        "dom0",
        "ahci",
        ["cpu-dom0", "", "cpu-domu", "cpu-both", "io"],
    ),
    (
        "disk-passthrough",
        "B",
        "ahci",
        ["cpu-both", "", "cpu-dom0", "cpu-domu", "io"],
    ),
    (
        "disk-vbd",
        "B",
        "blkif",
        ["io", "", "cpu-dom0", "cpu-domu", "cpu-both"],
    ),
];

#[test]
fn disk_cases_of_the_paper_give_breakdowns_and_interrupts() {
    let _turn = shared();
    let folder = scratch("lab-paper");
    let all = std::env::var("TRACER_PAPER_CASES").is_ok_and(|cases| cases == "all");
    let cases = if all { &CASES[..] } else { &CASES[2..] };
    for (name, domain, handler, loads) in cases {
        let loads = if all { &loads[..] } else { &loads[..1] };
        for load in loads {
            let scenario = format!("scenarios/paper/{name}.toml");
            let out = folder.join(format!("{name}-{load}"));
            let mut args = vec!["run", "--name", this_lab(), &scenario, "--out"];
            args.extend([out.to_str().unwrap(), "--", "--json", "--profile=quick"]);
            let profile = format!("--profile={load}");
            args.extend((!load.is_empty()).then_some(profile.as_str()));
            // As many virtual CPUs as the lab gives Dom0.
            args.extend(["--set=domain.0.vcpus=1", "--set=workload.count=300"]);
            let output = lab(&args);
            assert!(output.status.success(), "{name} {load}: {}", text(&output));
            let report = printed_report(&output);
            assert_adds_up(&report.breakdowns[0]);
            let spans = report.breakdowns[0].total.count;
            assert!(
                (891..=900).contains(&spans),
                "{name} {load}: {spans} of 900"
            );
            assert_interrupts(&report, domain, handler);
            let summary = report.summary.unwrap();
            eprintln!(
                "{name} {load}: {:.0} ms an iteration, standard deviation {:.0} ms",
                summary.mean_ns / 1e6,
                summary.variance_ns2.sqrt() / 1e6
            );
        }
    }
}
