//! A lab that goes on from a saved state is like one that has booted.

use std::fs;
use std::path::PathBuf;

use crate::network::assert_joined;
use crate::support::*;

/// A lab beside the shared one, of its kind, until dropped.
struct Restored(#[expect(dead_code, reason = "held")] Down);

impl Restored {
    /// Brings it up; what was said of that.
    fn up(more: &[&str]) -> (Self, String) {
        lab(&["down", "--name", victim()]);
        let down = Down(victim());
        let output = lab(&[&["up", "--name", victim()], more].concat());
        assert!(output.status.success(), "{}", text(&output));
        (Self(down), text(&output))
    }

    fn printed(domain: &str, script: &str) -> String {
        let output = lab(&["exec", "--name", victim(), domain, "--", script]);
        assert!(output.status.success(), "{script}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

#[test]
fn a_restored_lab_has_its_devices_the_time_and_joins_every_request() {
    let _turn = shared();
    let (_victim, said) = Restored::up(&[]);
    assert!(said.contains("lab: restored after"), "{said}");
    for domain in ["dom0", "A", "B"] {
        let there: i64 = Restored::printed(domain, "date +%s").parse().unwrap();
        let here = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!(
            (there - i64::try_from(here).unwrap()).abs() < 60,
            "{domain}: {there}"
        );
    }
    let read = "od -An -tu1 -N1 /dev/lab/passthrough | tr -d ' '";
    assert_eq!(Restored::printed("B", read), "3");
    let received = Restored::printed(
        "B",
        "ping -c 5 -i 0.2 -I eth1 10.78.0.1 | grep -o '[0-9]* received'",
    );
    assert_eq!(received, "5 received");
    let out = scratch("lab-restored").join("run");
    let mut args = vec![
        "run",
        "--name",
        victim(),
        "scenarios/disk-vbd.toml",
        "--out",
    ];
    args.extend([out.to_str().unwrap(), "--", "--json", "--iterations=1"]);
    args.extend(["--set=workload.count=500", "--set=run.warm_up=0"]);
    let output = lab(&args);
    assert!(output.status.success(), "{}", text(&output));
    let report = printed_report(&output);
    assert!(report.warnings.is_empty(), "{report:#?}");
    assert_joined(&report, "B");
}

/// The files of all saved states.
fn states() -> Vec<PathBuf> {
    let states = cache().join("states").read_dir().unwrap().flatten();
    let files = states.map(|state| state.path().join("state"));
    files.filter(|file| file.exists()).collect()
}

#[test]
#[ignore = "long: two boots"]
fn a_damaged_state_is_made_anew_and_a_cold_boot_leaves_it_alone() {
    let _turn = alone();
    let (victim, said) = Restored::up(&["--cold"]);
    assert!(said.contains("lab: up after"), "{said}");
    drop(victim);
    for state in states() {
        let file = fs::File::options().write(true).open(state).unwrap();
        file.set_len(1 << 20).unwrap();
    }
    let (victim, said) = Restored::up(&[]);
    assert!(
        said.contains("lab: the saved state is made anew: "),
        "{said}"
    );
    assert!(said.contains("/state is damaged"), "{said}");
    assert!(said.contains("lab: up after"), "{said}");
    drop(victim);
    let (_victim, said) = Restored::up(&[]);
    assert!(said.contains("lab: restored after"), "{said}");
}
