//! A known delay, planted below blkback: the tool must name the stage, and how much was added; with
//! nothing planted it must blame nothing. `TRACER_PLANTED_ROUNDS` says how often (once).

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::*;

/// The delay of each read, in milliseconds. Long against what an emulated machine adds by itself.
const DELAY_MS: f64 = 100.0;

/// A disk of Dom0 whose delay can be changed, as another disk of a guest.
struct SlowDisk;

impl SlowDisk {
    fn attach() -> Self {
        printed(
            "dom0",
            "modprobe dm-mod; modprobe dm-delay; n=$(blockdev --getsz /dev/lab/measured) && \
             dmsetup create planted --table \"0 $n linear /dev/lab/measured 0\" && dmsetup mknodes && \
             xl block-attach B format=raw,vdev=xvdb,access=r,script=/lab/hotplug-block,target=/dev/mapper/planted",
        );
        wait_until(|| exec("B", "test -b /dev/xvdb").status.success());
        Self
    }

    fn set(&self, table: &str) {
        printed(
            "dom0",
            &format!(
                "n=$(blockdev --getsz /dev/lab/measured) && dmsetup suspend planted && \
                 dmsetup load planted --table \"0 $n {table}\" && dmsetup resume planted"
            ),
        );
    }

    fn set_quick(&self) {
        self.set("linear /dev/lab/measured 0");
    }

    fn set_slow(&self) {
        self.set(&format!("delay /dev/lab/measured 0 {DELAY_MS}"));
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        exec("dom0", "xl block-detach B xvdb; dmsetup remove planted");
    }
}

fn run(folder: &Path, name: &str) -> PathBuf {
    let out = folder.join(name);
    let scenario = "scenarios/disk-vbd.toml";
    let mut args = vec!["run", "--name", SHARED, scenario, "--out"];
    args.extend([out.to_str().unwrap(), "--", "--json", "--iterations=5"]);
    args.extend(["--set=workload.count=40", "--set=run.warm_up=1"]);
    args.push("--set=workload.target=/dev/xvdb");
    let output = lab(&args);
    assert!(output.status.success(), "{}", text(&output));
    out
}

#[test]
fn a_slow_disk_below_blkback_is_named() {
    let _turn = shared();
    let disk = SlowDisk::attach();
    let rounds = std::env::var("TRACER_PLANTED_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let folder = scratch("lab-planted");
        disk.set_quick();
        let (first, second) = (run(&folder, "first"), run(&folder, "second"));
        disk.set_slow();
        let slow = run(&folder, "slow");
        let nothing = compared(&first, &second);
        assert_eq!(
            nothing["verdict"]["blamed"],
            Value::Null,
            "{round}: {nothing:#}"
        );
        let planted = compared(&first, &slow);
        let blamed = &planted["verdict"]["blamed"];
        assert_eq!(
            (&blamed["from"], &blamed["to"]),
            (&"blkback.submit".into(), &"dom0.issue".into()),
            "{round}: {planted:#}"
        );
        let added_ms = blamed["added_ns"].as_f64().unwrap() / 1e6;
        assert!(
            (added_ms / DELAY_MS - 1.0).abs() < 0.1,
            "{round}: {added_ms} ms"
        );
        eprintln!("round {round}: {DELAY_MS} ms planted, {added_ms:.1} ms found");
    }
}
