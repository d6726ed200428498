//! Newer kernels, in labs of their own. They begin early, beside others: a boot leaves a CPU free.

use std::path::Path;

use tracer_analysis::Report;
use tracer_common::{
    point::{Kind, Point},
    record::Record,
};

use crate::network::assert_joined;
use crate::support::*;

/// Dom0's packets have the interrupt of what they came by: the card's on the way to the guest, netback's on the way from
/// it. Since Linux 6.4 the soft interrupt that one raised polls the other, too, if that comes while it runs.
fn assert_of_their_own_interrupts(report: &Report, run: &Path) {
    let name = |irq: u32| {
        let mut own = report.interrupts.iter();
        let found = own.find(|found| found.domain == "dom0" && found.irq == irq);
        found.map_or("", |found| found.name.as_str())
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
    let name = "test-newer";
    let _down = Down(name);
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
    let run = |scenario: &str, args: &[&str]| -> Report {
        let out = folder.join(scenario);
        let file = format!("scenarios/{scenario}.toml");
        let mut all = options();
        all.extend([&file, "--out", out.to_str().unwrap()]);
        all.extend(["--", "--json", "--iterations=1", "--set=run.warm_up=0"]);
        all.extend(args);
        let output = lab(&all);
        assert!(output.status.success(), "{}", text(&output));
        let report = printed_report(&output);
        assert!(report.warnings.is_empty(), "{report:#?}");
        for (name, kernel) in [("dom0", dom0), ("B", guests)] {
            let release = &domain(&report, name).host.kernel;
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
    let _turn = turn();
    assert_every_binding("6.12", "7.3");
}

#[test]
#[ignore = "long: a boot for each kernel"]
fn each_newer_kernel_has_every_binding_in_each_domain() {
    let _turn = alone();
    for kernel in ["6.12", "7.2", "7.3"] {
        assert_every_binding(kernel, kernel);
    }
}
