//! The check of a kernel where the lab's clock counts instructions, so that nothing else that this machine does has
//! a part in it: what is slower by a few per cent is found from one run a side, and what is not, is not.
//! `TRACER_CHECK_ROUNDS` says how often.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use tracer_analysis::check::{BreakdownChecked, Check, Metric, Status, Test, Verdict};

use crate::support::*;

const VIRTUAL: &str = "test-virtual";
/// A request of the timed disk waits so long for its timer, in nanoseconds.
const TIMER_NS: f64 = 100_000.0;
/// The stage that a slower timer is in.
const STAGE: &str = "dom0.issue..dom0.irq.entry";
/// As many as the scenario's profile `check` has: enough to tell a stage by one run a side.
const ITERATIONS: u32 = 10;
/// How much longer the planted device takes, as a share of that stage.
const PLANTED_SHARE: f64 = 0.1;
/// How far the time found may be from what was planted.
const TOLERANCE: f64 = 0.1;

/// Boots the lab in virtual time.
fn up() -> Down {
    let ended = Down(VIRTUAL);
    // What a test left that was killed has disks of other delays.
    lab(&["down", "--name", VIRTUAL]);
    let output = lab(&["up", "--name", VIRTUAL, "--virtual-time=0"]);
    assert!(output.status.success(), "{}", text(&output));
    ended
}

fn rounds(otherwise: u32) -> u32 {
    std::env::var("TRACER_CHECK_ROUNDS").map_or(otherwise, |rounds| rounds.parse().unwrap())
}

/// Gives the guest a timed disk as `xvdb`, in place of the one it has.
fn attach(name: &str, ns: f64) {
    let script = format!(
        ". /lab/functions.sh; [ -b /dev/lab/{name} ] || make_timed_disk {name} {ns:.0}
         xl block-detach B xvdb 2>/dev/null && sleep 1
         xl block-attach B format=raw,vdev=xvdb,access=r,script=/lab/hotplug-block,target=/dev/lab/{name}"
    );
    let output = lab(&["exec", "--name", VIRTUAL, "dom0", "--", &script]);
    assert!(output.status.success(), "{}", text(&output));
    let there = ["exec", "--name", VIRTUAL, "B", "--", "test -b /dev/xvdb"];
    wait_until(|| lab(&there).status.success());
}

/// A run of the guest's reads of the timed disk, with random waits: else Dom0 would be found awake, or asleep, by the
/// reads of whole runs.
fn run(folder: &Path, name: &str, iterations: u32) -> PathBuf {
    let more = [
        "--profile=check",
        "--set=workload.count=50",
        "--set=workload.target=/dev/xvdb",
    ];
    let options = ["run", "--name", VIRTUAL, "--virtual-time=0"];
    run_with(&options, folder, name, iterations, &more)
}

/// A run in the lab that these options of `lab run` name.
fn run_with(
    options: &[&str],
    folder: &Path,
    name: &str,
    iterations: u32,
    more: &[&str],
) -> PathBuf {
    let out = folder.join(name);
    let mut args = options.to_vec();
    args.extend(["scenarios/disk-vbd.toml", "--out", out.to_str().unwrap()]);
    let iterations = format!("--iterations={iterations}");
    args.extend(["--", "--json", &iterations]);
    args.extend(more);
    let output = lab(&args);
    assert!(output.status.success(), "{}", text(&output));
    out
}

/// In virtual time runs repeat, so that one a side shows more.
const ONE_RUN: &str = "one_run = \"stages\"\n";
/// Less than the default matters.
const FINER: &str = "one_run = \"stages\"\n[effect.location]\npercent = 3\nat_least = \"250ns\"\n";

/// The verdict on one run against another, and the stages of the guest's reads.
fn checked(base: &Path, new: &Path) -> (Verdict, BreakdownChecked) {
    checked_by("", base, &[new.to_owned()])
}

fn checked_in_virtual_time(base: &Path, new: &Path) -> (Verdict, BreakdownChecked) {
    checked_by(ONE_RUN, base, &[new.to_owned()])
}

/// The same by this policy, of one new run or several; `base` is a run or a baseline of several.
fn checked_by(policy: &str, base: &Path, new: &[PathBuf]) -> (Verdict, BreakdownChecked) {
    let file = base.with_file_name("policy.toml");
    std::fs::write(&file, policy).unwrap();
    let mut check = tracer();
    check.arg("check").args(new).arg("--baseline").arg(base);
    check.arg("--policy").arg(file);
    let output = check.args(["--format", "json"]).output().unwrap();
    let document: Check = serde_json::from_slice(&output.stdout).unwrap();
    let code = match document.verdict {
        Verdict::Regressed => 1,
        Verdict::CannotTell => 2,
        _ => 0,
    };
    assert_eq!(output.status.code(), Some(code));
    let mut breakdowns = document.breakdowns.into_iter();
    let breakdown = breakdowns.find(|breakdown| breakdown.datapath == "disk/vbd");
    (document.verdict, breakdown.unwrap())
}

/// The test of a stage's median: a request in some hundred waits for a vCPU besides, and is in the mean.
fn median<'a>(breakdown: &'a BreakdownChecked, stage: &str) -> &'a Test {
    let mut stages = breakdown.stages.iter();
    let stage = stages.find(|found| found.name == stage).unwrap();
    let mut tests = stage.tests.iter();
    tests.find(|test| test.metric == Metric::P50).unwrap()
}

/// The stage that is blamed, if one is.
fn blamed(breakdown: &BreakdownChecked) -> Option<&str> {
    let blamed = breakdown.blamed.as_ref();
    blamed.map(|blamed| blamed.stage.as_str())
}

#[test]
fn slower_device_is_named_in_virtual_time_and_an_equal_one_is_not() {
    let _turn = turn();
    let folder = scratch("lab-check");
    let _ended = up();
    attach("quick", TIMER_NS);
    for round in 0..rounds(1) {
        attach("quick", TIMER_NS);
        let equals: Vec<PathBuf> = (0..8)
            .map(|number| run(&folder, &format!("equal-{round}-{number}"), ITERATIONS))
            .collect();
        let (verdict, breakdown) = interleaved(&folder, &equals);
        assert_eq!(verdict, Verdict::Passed, "{breakdown:#?}");
        let [.., before, equal] = &equals[..] else {
            unreachable!("there are eight")
        };
        let (verdict, breakdown) = checked_in_virtual_time(before, equal);
        assert_eq!(verdict, Verdict::Passed, "{breakdown:#?}");
        let stage_ns = median(&breakdown, STAGE).base_ns;
        let planted_ns = stage_ns * PLANTED_SHARE;
        attach(&format!("slow{round}"), TIMER_NS + planted_ns);
        let slow = run(&folder, &format!("slow-{round}"), ITERATIONS);
        let (verdict, breakdown) = checked_in_virtual_time(equal, &slow);
        let of_stage = median(&breakdown, STAGE);
        let found_ns = of_stage.new_ns - of_stage.base_ns;
        eprintln!("round {round}: {planted_ns:.0} ns planted, {found_ns:.0} ns found, {verdict:?}");
        assert_eq!(verdict, Verdict::Regressed, "{breakdown:#?}");
        assert_eq!(of_stage.status, Status::Regressed, "{breakdown:#?}");
        assert_eq!(blamed(&breakdown), Some(STAGE), "{breakdown:#?}");
        assert!(
            (found_ns / planted_ns - 1.0).abs() < TOLERANCE,
            "{found_ns} of {planted_ns} ns"
        );
    }
}

/// One of this machine's CPUs is busy until dropped.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        let mut busy = Command::new("sh");
        Self(busy.args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The verdict on one run against another.
type Checked = fn(&Path, &Path) -> (Verdict, BreakdownChecked);

/// Checks each of these runs of one kernel against the one before it; how many alarmed.
fn alarms(what: &str, runs: &[PathBuf], checked: Checked) -> u32 {
    let mut alarms = 0;
    for (check, pair) in runs.windows(2).enumerate() {
        let (verdict, breakdown) = checked(&pair[0], &pair[1]);
        alarms += u32::from(verdict == Verdict::Regressed);
        let blamed = blamed(&breakdown);
        eprintln!("{what}: check {check}: {verdict:?}, {blamed:?}; {alarms} alarms");
    }
    alarms
}

#[test]
#[ignore = "long: 40 checks, half an hour"]
fn one_kernel_in_virtual_time_never_alarms() {
    let _turn = alone();
    let folder = scratch("lab-check-equal-virtual");
    let _ended = up();
    let _busy = Busy::start();
    attach("quick", TIMER_NS);
    let runs: Vec<PathBuf> = (0..=rounds(40))
        .map(|number| run(&folder, &number.to_string(), ITERATIONS))
        .collect();
    assert_eq!(alarms("virtual time", &runs, checked_in_virtual_time), 0);
}

/// Four runs a side, in the order in which `lab check` makes them: both first equally often.
const OF_BASE: [usize; 4] = [0, 3, 5, 6];
const OF_NEW: [usize; 4] = [1, 2, 4, 7];

/// The verdict on eight runs, one after the other, as if every other one was of a new kernel.
fn interleaved(folder: &Path, runs: &[PathBuf]) -> (Verdict, BreakdownChecked) {
    let of = |places: [usize; 4]| places.map(|place| runs[place].clone());
    checked_several(folder, "", &of(OF_BASE), &of(OF_NEW))
}

/// The verdict on several runs a side.
fn checked_several(
    folder: &Path,
    policy: &str,
    base: &[PathBuf],
    new: &[PathBuf],
) -> (Verdict, BreakdownChecked) {
    let mut save = tracer();
    save.args(["baseline", "save", "--replace", "--name", "base", "--store"]);
    let output = save.arg(folder).args(base).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    checked_by(policy, &folder.join("base.json"), new)
}

/// A run is in as many as eight of the checks: so many runs of their own would take hours.
#[test]
#[ignore = "long: 47 runs, three quarters of an hour"]
fn one_kernel_on_a_busy_machine_alarms_once_in_40_checks_at_most() {
    let _turn = alone();
    let folder = scratch("lab-check-equal");
    let _busy = Busy::start();
    let checks = rounds(40);
    let options = ["run", "--name", this_lab()];
    let mut runs = Vec::new();
    for number in 0..checks + 7 {
        let more = ["--profile=check", "--set=workload.count=60"];
        runs.push(run_with(
            &options,
            &folder,
            &number.to_string(),
            ITERATIONS,
            &more,
        ));
        eprintln!("a busy machine: run {number} of {}", checks + 7);
    }
    let mut of_four = 0;
    for eight in runs.windows(8) {
        of_four += u32::from(interleaved(&folder, eight).0 == Verdict::Regressed);
    }
    eprintln!("four runs a side, interleaved: {of_four} of {checks}");
    let of_one = alarms("a busy machine", &runs[..=checks as usize], checked);
    for alarms in [of_four, of_one] {
        assert!(alarms * 40 <= checks, "{of_four}, {of_one}");
    }
}

/// How much slower each disk of the table is than the first, in per cent of the stage.
const PLANTED: [u32; 5] = [0, 0, 5, 10, 25];
/// Runs a side where they are several.
const RUNS: usize = 4;

/// Runs of each disk of the table, by disk: from the first one on, then back again, and so on. Each is attached anew for
/// each of its runs: where requests go one of two ways, the more frequent one may be the other then.
fn runs_of_each(
    folder: &Path,
    name: &str,
    stage_ns: f64,
    runs: usize,
    iterations: u32,
) -> Vec<Vec<PathBuf>> {
    let mut of_disks = vec![Vec::new(); PLANTED.len()];
    for number in 0..runs {
        let mut disks: Vec<usize> = (0..PLANTED.len()).collect();
        if number % 2 == 1 {
            disks.reverse();
        }
        for disk in disks {
            let planted_ns = stage_ns * f64::from(PLANTED[disk]) / 100.0;
            attach(&format!("disk{disk}"), TIMER_NS + planted_ns);
            let name = format!("{name}-{disk}-{number}");
            of_disks[disk].push(run(folder, &name, iterations));
        }
    }
    of_disks
}

/// How many of so many checks find a device that is slower by so much, by iterations and runs a side, and name its
/// stage.
#[test]
#[ignore = "long: 101 runs, an hour and more"]
fn table_of_what_is_found_in_virtual_time() {
    let _turn = alone();
    let folder = scratch("lab-check-table");
    let _ended = up();
    let rounds = rounds(4);
    attach("disk0", TIMER_NS);
    let first = run(&folder, "first", ITERATIONS);
    let (_, breakdown) = checked_in_virtual_time(&first, &first);
    let stage_ns = median(&breakdown, STAGE).base_ns;
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (name, half) = (format!("short-{round}"), ITERATIONS / 2);
        short.push(runs_of_each(&folder, &name, stage_ns, RUNS, half));
        let name = format!("long-{round}");
        long.push(runs_of_each(&folder, &name, stage_ns, 1, ITERATIONS));
        eprintln!("round {round} of {rounds} has run");
    }
    // The runs, how many a side, of how many iterations, by which policy, and from how many per cent on a delay must be
    // found: from five iterations a side nothing can be, as chance alone can explain any ranking of so few.
    let half = ITERATIONS / 2;
    let checks = [
        ("5%", &short, 1, half, ONE_RUN, None),
        ("5%", &long, 1, ITERATIONS, ONE_RUN, Some(25)),
        ("5%", &short, RUNS, half, "", Some(10)),
        ("3%", &long, 1, ITERATIONS, FINER, Some(10)),
        ("3%", &short, RUNS, half, FINER, Some(5)),
    ];
    let mut wrong = Vec::new();
    for disk in 1..PLANTED.len() {
        let percent = PLANTED[disk];
        for (matters, of_rounds, runs, iterations, policy, least) in &checks {
            let (mut found, mut right) = (0, 0);
            for of_disks in *of_rounds {
                let (base, new) = (&of_disks[0][..*runs], &of_disks[disk][..*runs]);
                let (verdict, breakdown) = match runs {
                    1 => checked_by(policy, &base[0], new),
                    _ => checked_several(&folder, policy, base, new),
                };
                if verdict == Verdict::Regressed {
                    found += 1;
                    right += u32::from(blamed(&breakdown) == Some(STAGE));
                }
            }
            let line = format!(
                "{percent}% of {stage_ns:.0} ns, {runs} runs of {iterations} iterations a side, from {matters} on: \
                 found {found} of {rounds}, named {right}"
            );
            eprintln!("{line}");
            let is_missed = least.is_some_and(|least| percent >= least) && found < rounds;
            let is_alarm = percent == 0 && found > 0;
            if is_missed || is_alarm || right < found {
                wrong.push(line);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
