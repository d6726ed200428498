//! Run directories that were damaged: a report of what is left, or a clear error. Never a panic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it was skipped"
)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use support::{alone, disk, may_trace, outcome, run};
use tracer_analysis::{
    recording::directory::RunDirectory,
    replay::analyse,
    report::{Format, render},
};

/// One thing that can happen to a file.
#[derive(Clone, Debug)]
enum Damage {
    Removed,
    Cut(Index),
    Byte(Index, u8),
    /// A number of a text file becomes another.
    Number(Index, &'static str),
    /// A piece stands there again.
    Repeated(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    const NUMBERS: &[&str] = &["18446744073709551615", "0", "4294967295", "-1", "1e400"];
    prop_oneof![
        1 => Just(Damage::Removed),
        2 => any::<Index>().prop_map(Damage::Cut),
        4 => any::<(Index, u8)>().prop_map(|(at, value)| Damage::Byte(at, value)),
        8 => (any::<Index>(), prop::sample::select(NUMBERS))
            .prop_map(|(at, number)| Damage::Number(at, number)),
        2 => any::<(Index, Index)>().prop_map(|(from, to)| Damage::Repeated(from, to)),
    ]
}

fn harm(path: &Path, damage: &Damage) {
    let Ok(mut bytes) = fs::read(path) else {
        return;
    };
    match damage {
        Damage::Removed => return fs::remove_file(path).unwrap(),
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
        Damage::Byte(_, _) | Damage::Repeated(_, _) if bytes.is_empty() => {}
        Damage::Byte(at, value) => {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        Damage::Number(at, number) => {
            let starts: Vec<usize> = (0..bytes.len())
                .filter(|at| bytes[*at].is_ascii_digit())
                .filter(|at| *at == 0 || !bytes[at - 1].is_ascii_digit())
                .collect();
            if !starts.is_empty() {
                let start = starts[at.index(starts.len())];
                let digits = bytes[start..].iter().take_while(|b| b.is_ascii_digit());
                let end = start + digits.count();
                bytes.splice(start..end, number.bytes());
            }
        }
        Damage::Repeated(from, to) => {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.splice(to..to, piece);
        }
    }
    fs::write(path, bytes).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn copy_run(whole: &Path, to: &Path) {
    for file in files(whole) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// Reports of a copy of the run with these damages; the error, if there can be none.
fn report_of_damaged(whole: &Path, damages: &[(Index, Damage)]) -> Result<(), String> {
    let copy = tempfile::tempdir().unwrap();
    copy_run(whole, copy.path());
    let files = files(copy.path());
    for (file, damage) in damages {
        harm(&files[file.index(files.len())], damage);
    }
    let words = |error: anyhow::Error| format!("{error:#}");
    let directory = RunDirectory::open(copy.path()).map_err(words)?;
    let report = analyse(&directory).map_err(words)?;
    for format in [
        Format::Text,
        Format::Json,
        Format::Folded,
        Format::Html,
        Format::Perfetto,
    ] {
        assert!(!render(&report, format).unwrap().is_empty() || format == Format::Folded);
    }
    Ok(())
}

#[test]
fn a_damaged_run_is_reported_or_refused() {
    if !may_trace("a_damaged_run_is_reported_or_refused") {
        return;
    }
    let _alone = alone();
    for mode in ["spans", "aggregate"] {
        let folder = tempfile::tempdir().unwrap();
        let workload =
            "kind = \"dd\"\ntarget = \"@disk\"\nblock_size = \"4KiB\"\ncount = 200\ndirect = true";
        let text = disk(workload, "/var/tmp", "[run]\niterations = 2\nwarm_up = 0")
            .replace("[\"disk/native\"]", "[\"disk/native\", \"irq\"]")
            + &format!("mode = \"{mode}\"\n");
        run(folder.path(), &text);
        let whole = folder.path().join("run");
        report_of_damaged(&whole, &[]).unwrap();
        let config = Config {
            cases: 1500,
            failure_persistence: None,
            ..Config::default()
        };
        // The same damages every time.
        let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, random);
        let damages = prop::collection::vec((any::<Index>(), damage()), 1..4);
        runner
            .run(&damages, |damages| {
                if let Err(error) = report_of_damaged(&whole, &damages) {
                    let named = error.contains(".json")
                        || error.contains(".toml")
                        || error.contains(".bin");
                    prop_assert!(named || error.contains("format"), "which file? {}", error);
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_cut_run_is_no_run_to_check() {
    if !may_trace("a_cut_run_is_no_run_to_check") {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let workload =
        "kind = \"dd\"\ntarget = \"@disk\"\nblock_size = \"4KiB\"\ncount = 200\ndirect = true";
    let text = disk(workload, "/var/tmp", "[run]\niterations = 4\nwarm_up = 0");
    run(folder.path(), &text);
    let check = || {
        outcome(
            folder.path(),
            &["check", "copy", "--baseline", "run", "--format", "json"],
        )
    };
    let copy = || {
        let copy = folder.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir(&copy).unwrap();
        copy_run(&folder.path().join("run"), &copy);
        copy
    };
    // A whole one is read, and is the same run.
    copy();
    let (code, _, said) = check();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("is itself in the baseline"), "{said}");
    let records = "native-records.bin";
    let whole = fs::read(folder.path().join("run").join(records)).unwrap();
    // In the middle, by a byte, and of all.
    for left in [whole.len() / 2, whole.len() - 1, 0] {
        fs::write(copy().join(records), &whole[..left]).unwrap();
        let (code, _, said) = check();
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("native-records.bin is cut"), "{said}");
    }
    fs::remove_file(copy().join(records)).unwrap();
    assert!(check().0 == 3 && check().2.contains("native-records.bin is cut"));
    let name = "iterations.jsonl";
    let lines = fs::read_to_string(folder.path().join("run").join(name)).unwrap();
    let fewer: Vec<&str> = lines.lines().take(3).collect();
    let cut = copy();
    fs::write(cut.join(name), fewer.join("\n") + "\n").unwrap();
    let (code, _, said) = check();
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("it has 3 of 4 iterations"), "{said}");
    // A run that was killed has what it has: it can be looked at, and is refused as partial.
    let manifest = fs::read_to_string(cut.join("manifest.json")).unwrap();
    let killed = manifest.replace("\"complete\"", "\"running\"");
    assert_ne!(manifest, killed);
    fs::write(cut.join("manifest.json"), killed).unwrap();
    fs::write(cut.join(records), &whole[..whole.len() / 2]).unwrap();
    let (code, _, said) = check();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("is a partial run"), "{said}");
    let (_, report, said) = outcome(folder.path(), &["report", "copy"]);
    assert!(report.contains("blk.queue"), "{report}{said}");
}
