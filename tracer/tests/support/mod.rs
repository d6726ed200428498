//! What the tests of the real kernel share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tracer_analysis::recording::host::HostFacts;
use tracer_common::point::Point;

/// Tests that measure must not disturb each other.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program under test.
pub(crate) fn tracer() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tracer"))
}

/// The exit code of a command in a folder, what it printed and what it said.
pub(crate) fn outcome(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = tracer().current_dir(folder).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, words) = (text(output.stdout), text(output.stderr));
    (output.status.code().unwrap(), out, words)
}

/// A machine with two CPUs, whose name has to be escaped in some forms.
pub(crate) fn host(kernel: &str, xen_role: &str) -> HostFacts {
    HostFacts {
        kernel: kernel.into(),
        cpu_model: "a <CPU>".into(),
        cpus: 2,
        clocksource: "tsc".into(),
        xen_role: xen_role.into(),
        command_line: "quiet".into(),
    }
}

/// The points of a request that begins at `at_ns`, each so many nanoseconds after the one before.
pub(crate) fn passed(
    mut at_ns: u64,
    steps: impl IntoIterator<Item = (Point, u64)>,
) -> impl Iterator<Item = (Point, u64)> {
    steps.into_iter().map(move |(point, step_ns)| {
        at_ns += step_ns;
        (point, at_ns)
    })
}

/// Whether this process may load programs; says so if it may not.
pub(crate) fn may_trace(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    if !root || !btf {
        eprintln!("SKIPPED {test}: needs root and a kernel with BTF");
    }
    root && btf
}

/// Whether a program can be run; says so if it cannot.
pub(crate) fn has(program: &str, test: &str) -> bool {
    let found = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).exists());
    if !found {
        eprintln!("SKIPPED {test}: {program} is not installed");
    }
    found
}

/// Writes a scenario into a folder.
pub(crate) fn scenario(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("scenario.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Runs a scenario for its JSON report.
pub(crate) fn run(folder: &Path, text: &str) -> Value {
    let output = tracer()
        .args(["run", "--json", "--out"])
        .arg(folder.join("run"))
        .arg(scenario(folder, text))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a scenario until nothing was lost, so that counts can be exact. Some kernels now and then do
/// not call BPF programs on one CPU for some milliseconds (README, Limits): such a run says so, and is
/// made again.
pub(crate) fn clean_run(text: &str) -> Value {
    for _ in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let report = run(folder.path(), text);
        let domain = &report["domains"][0];
        if domain["lost"] == 0 && domain["in_flight"] == 0 {
            return report;
        }
        eprintln!(
            "made again: {} lost, {} in flight",
            domain["lost"], domain["in_flight"]
        );
    }
    panic!("no run of twelve was without a loss");
}

pub(crate) fn words(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A file that people have read, by its name.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Holds a text against such a file; `TRACER_BLESS=1` writes it anew.
pub(crate) fn assert_golden(name: &str, rendered: &str) {
    let path = golden(name);
    if std::env::var_os("TRACER_BLESS").is_some() {
        std::fs::write(&path, rendered).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(
        rendered == expected,
        "{name} has changed; bless it if that is right:\n{rendered}"
    );
}

/// Names of tracer's programs that the kernel holds now.
pub(crate) fn programs_left() -> Vec<String> {
    aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .filter_map(|info| info.name_as_str().map(ToOwned::to_owned))
        .filter(|name| {
            name.starts_with("blk_queue")
                || name.starts_with("irq_entry")
                || name.starts_with("net_queue")
        })
        .collect()
}

/// The kernel frees programs a moment after their last user is gone.
pub(crate) fn assert_nothing_attached() {
    for _ in 0..50 {
        if programs_left().is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("still attached: {:?}", programs_left());
}

/// A loop device, 64 MiB over `directory`, read or written by dd.
pub(crate) fn disk(workload: &str, directory: &str, more: &str) -> String {
    format!(
        "schema = 1\nname = \"test\"\n[[domain]]\nname = \"native\"\n[[resource]]\nname = \"disk\"\nkind = \"loop\"\nsize = \"64MiB\"\ndirectory = \"{directory}\"\n[workload]\n{workload}\n{more}\n[probes]\ndatapaths = [\"disk/native\"]\ndevices = [\"@disk\"]\nmax_lost_percent = 10\n"
    )
}

/// Every breakdown: the stages add up to the total, the shares to one.
pub(crate) fn assert_conserved(report: &Value) {
    let breakdowns = report["breakdowns"].as_array().unwrap();
    assert!(!breakdowns.is_empty(), "{report:#}");
    for breakdown in breakdowns {
        let stages = breakdown["stages"].as_array().unwrap();
        let sum = |field: &str| {
            stages
                .iter()
                .map(|stage| stage[field].as_f64().unwrap())
                .sum::<f64>()
        };
        let whole: u64 = stages
            .iter()
            .map(|stage| stage["sum_ns"].as_u64().unwrap())
            .sum();
        assert_eq!(
            whole,
            breakdown["total"]["sum_ns"].as_u64().unwrap(),
            "to the nanosecond"
        );
        assert!((sum("share_of_mean") - 1.0).abs() < 1e-9);
        assert!(
            (sum("share_of_variance") - 1.0).abs() < 1e-6
                || breakdown["total"]["variance_ns2"] == 0.0
        );
        for slow in breakdown["slowest"].as_array().unwrap() {
            let points = slow["points"].as_array().unwrap();
            let at = |index: usize| points[index][1].as_u64().unwrap();
            assert_eq!(
                at(points.len() - 1) - at(0),
                slow["total_ns"].as_u64().unwrap()
            );
        }
    }
}
