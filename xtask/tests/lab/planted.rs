//! Known delays, planted one at a time: the tool must name the stage, and how much was added; with nothing
//! planted it must blame nothing. `TRACER_PLANTED_ROUNDS` says how often (once).

use std::path::{Path, PathBuf};

use serde_json::Value;
use tracer_analysis::{
    Report,
    compare::{Blamed, Pair},
    datapath::Component,
};

use crate::support::*;

/// Long against what an emulated machine adds by itself.
const DISK_DELAY_MS: f64 = 100.0;
/// Dom0's CPU is taken for so long at a time, and left alone in between: each time adds all but the way of one
/// request to one request. Long against the whole of a request: a busy CPU also takes less time to wake up.
const HOG_MS: u32 = 300;
const NO_HOG_MS: u32 = 25;
/// The guest gets no CPU for so long at a time, and runs in between.
const PAUSE_MS: u32 = 1500;
const NO_PAUSE_MS: u32 = 400;
/// Meanwhile the disk takes so long: the guest is in a request nearly always, and so is what is planted.
const THROTTLED_DISK_MS: f64 = 20.0;
/// Reads an iteration.
const READS: u32 = 200;
/// The same of a throttled guest: it is paused several times in each iteration.
const THROTTLED_READS: u32 = 100;
/// How far the time found may be from what was planted.
const TOLERANCE: f64 = 0.1;

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

    fn set_slow(&self, delay_ms: f64) {
        self.set(&format!("delay /dev/lab/measured 0 {delay_ms}"));
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        exec(
            "dom0",
            "xl unpause B; xl block-detach B xvdb; dmsetup remove planted",
        );
    }
}

/// fio reads one block after the other in the guest, and takes the times itself.
fn scenario(folder: &Path, reads: u32, background: &str) -> PathBuf {
    let file = folder.join("scenario.toml");
    let text = format!(
        r#"
schema = 1
name = "planted"
[[domain]]
name = "dom0"
[[domain]]
name = "B"
agent = "console"
[workload]
domain = "B"
kind = "command"
program = "fio"
args = ["--name=t", "--filename=/dev/xvdb", "--readonly", "--rw=read", "--bs=4k", "--direct=1", "--ioengine=psync", "--number_ios={reads}", "--output-format=json"]
[run]
iterations = 5
warm_up = 1
[probes]
datapaths = ["disk/vbd"]
devices = ["/dev/xvdb"]
{background}
"#
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// A program of Dom0's that runs while the guest reads.
fn in_dom0(program: &str, args: &[&str]) -> String {
    format!(
        "[[background]]\ndomain = \"dom0\"\nkind = \"command\"\nprogram = {program:?}\nargs = {args:?}\n"
    )
}

/// Takes Dom0's CPU from every task for so long, again and again; interrupts go on.
pub(crate) fn hog(ms: u32) -> String {
    let script = format!(
        "import time\nwhile True:\n  until = time.monotonic() + {ms} / 1e3\n  while time.monotonic() < until: pass\n  time.sleep({NO_HOG_MS} / 1e3)\n"
    );
    in_dom0("chrt", &["-f", "50", "python3", "-c", &script])
}

/// Throttles the guest: not by a cap, which takes 10 ms at a time, of which an emulated guest needs one to
/// catch up with its timers, so that a tenth of what fio sees is no waiting for a CPU.
fn throttle() -> String {
    let (pause, run) = (f64::from(PAUSE_MS) / 1e3, f64::from(NO_PAUSE_MS) / 1e3);
    let script = format!(
        "trap 'xl unpause B; exit' TERM; while :; do xl pause B; sleep {pause} & wait $!; xl unpause B; sleep {run} & wait $!; done"
    );
    in_dom0("bash", &["-c", &script])
}

struct Run {
    folder: PathBuf,
    report: Report,
}

impl Run {
    fn new(parent: &Path, name: &str, reads: u32, background: &str) -> Self {
        let folder = parent.join(name);
        let _ = std::fs::remove_dir_all(&folder);
        let scenario = scenario(parent, reads, background);
        let mut args = vec!["run", "--name", this_lab(), scenario.to_str().unwrap()];
        args.extend(["--out", folder.to_str().unwrap(), "--", "--json"]);
        let output = lab(&args);
        assert!(output.status.success(), "{}", text(&output));
        let report = printed_report(&output);
        Self { folder, report }
    }

    /// The mean time of a read as fio has it, over all iterations, in nanoseconds.
    fn fio_mean_ns(&self) -> f64 {
        let iterations = &self.report.iterations;
        let means = iterations.iter().map(|iteration| {
            let text = iteration.extra["stdout"].as_str().unwrap();
            let fio: Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
            fio["jobs"][0]["read"]["lat_ns"]["mean"].as_f64().unwrap()
        });
        means.sum::<f64>() / iterations.len() as f64
    }
}

/// What is blamed must be one of these, and its component's time what was planted; or, where only fio
/// knows how much of it its reads met, what fio says that a read takes longer. (A wait for blkback's thread begins
/// at its interrupt, or on the ring where there was none: hence the component's.) All stages together must be what
/// fio says in any case.
fn assert_blamed(
    what: &str,
    (quick, slow): (&Run, &Run),
    stages: &[(&str, &str)],
    component: Component,
    planted_ns: Option<f64>,
) {
    let pair = compared(&quick.folder, &slow.folder, "disk/vbd");
    let blamed = blamed(&pair);
    let ends = (&*blamed.from, &*blamed.to);
    assert!(stages.contains(&ends), "{what}: {ends:?} {pair:#?}");
    let mut components = pair.components.iter();
    let of_component = components
        .find(|found| found.component == component)
        .unwrap();
    let found = of_component.part.mean_ns.difference.unwrap();
    let total = pair.total.mean_ns.difference.unwrap();
    let of_fio = slow.fio_mean_ns() - quick.fio_mean_ns();
    eprintln!(
        "{what}: fio has {:.2} ms more a read, all stages have {:.2} ms, {} has {:.2} ms, {}..{} of it {:.2} ms",
        of_fio / 1e6,
        total / 1e6,
        component.name(),
        found / 1e6,
        ends.0,
        ends.1,
        blamed.added_ns / 1e6
    );
    let planted = planted_ns.unwrap_or(of_fio);
    for (found, expected) in [(total, of_fio), (found, planted)] {
        assert!(
            (found / expected - 1.0).abs() < TOLERANCE,
            "{what}: {pair:#?}"
        );
    }
}

/// What the verdict blames, which must be something.
pub(crate) fn blamed(pair: &Pair) -> &Blamed {
    let blamed = pair.verdict.blamed.as_ref();
    blamed.unwrap_or_else(|| panic!("nothing is blamed: {pair:#?}"))
}

pub(crate) fn rounds() -> u32 {
    std::env::var("TRACER_PLANTED_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

#[test]
fn a_slow_disk_below_blkback_is_named_and_without_it_nothing() {
    let _turn = alone();
    let disk = SlowDisk::attach();
    let folder = scratch("lab-planted");
    // Neighbours are compared: what else this machine does changes in the time of ten rounds, and what is slower then
    // is slower.
    let mut last = Run::new(&folder, "quick", READS, "");
    for round in 0..rounds() {
        eprintln!("round {round}");
        disk.set_quick();
        let quick = Run::new(&folder, &format!("quick-{round}"), READS, "");
        let nothing = compared(&last.folder, &quick.folder, "disk/vbd");
        assert_eq!(nothing.verdict.blamed, None, "{nothing:#?}");
        disk.set_slow(DISK_DELAY_MS);
        let slow = Run::new(&folder, "slow", READS / 4, "");
        let below = [("blkback.submit", "dom0.issue")];
        let planted = Some(DISK_DELAY_MS * 1e6);
        assert_blamed(
            "a slow disk",
            (&quick, &slow),
            &below,
            Component::Dom0BlockLayer,
            planted,
        );
        last = quick;
    }
}

#[test]
fn a_hog_on_dom0_s_cpu_is_named() {
    let _turn = alone();
    let _disk = SlowDisk::attach();
    let folder = scratch("lab-planted-hog");
    let quick = Run::new(&folder, "quick", READS, "");
    for round in 0..rounds() {
        eprintln!("round {round}");
        let hogged = Run::new(&folder, "hogged", READS / 4, &hog(HOG_MS));
        // A thread that lost its CPU before it slept gets no interrupt for the next request: where that is so of many,
        // there are two ways from the ring to the thread.
        let waiting = [
            ("blkback.interrupt", "blkback.run"),
            ("blkfront.push", "blkback.run"),
        ];
        assert_blamed(
            "a hog",
            (&quick, &hogged),
            &waiting,
            Component::Dom0Scheduling,
            None,
        );
    }
}

#[test]
#[ignore = "long: the hog is the short one"]
fn a_throttled_guest_is_named() {
    let _turn = alone();
    let disk = SlowDisk::attach();
    let folder = scratch("lab-planted-throttle");
    disk.set_slow(THROTTLED_DISK_MS);
    let quick = Run::new(&folder, "quick", THROTTLED_READS, "");
    for round in 0..rounds() {
        eprintln!("round {round}");
        let throttled = Run::new(&folder, "throttled", THROTTLED_READS, &throttle());
        let stolen = [("vcpu.off", "vcpu.on")];
        assert_blamed(
            "a throttled guest",
            (&quick, &throttled),
            &stolen,
            Component::Hypervisor,
            None,
        );
    }
}
