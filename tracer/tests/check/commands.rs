//! What the commands say of runs and files, of those that cannot be checked, too.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;
use tracer_analysis::Report;

use crate::{report, support::outcome};

/// A folder with saved reports: two that are alike, one that is slower, and others.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, report: &Report| {
        fs::write(
            folder.path().join(name),
            serde_json::to_vec(report).unwrap(),
        )
        .unwrap();
    };
    save("a.json", &report("6.12", 0));
    save("b.json", &report("6.13", 10));
    save("slow.json", &report("6.13", 20_000));
    let mut other = report("6.12", 0);
    other.scenario = "other".into();
    save("other.json", &other);
    let mut partial = report("6.12", 0);
    partial.partial = Some("killed".into());
    save("partial.json", &partial);
    let mut lossy = report("6.12", 0);
    lossy.domains[0].lost_share = 0.5;
    save("lossy.json", &lossy);
    let mut packets = report("6.12", 0);
    packets.breakdowns[0].datapath = "net-tx/native".into();
    save("packets.json", &packets);
    let mut machine = report("6.12", 0);
    machine.host.cpus = 64;
    save("machine.json", &machine);
    let mut old = report("6.12", 0);
    old.breakdowns[0].stages[0].iterations.clear();
    save("old.json", &old);
    let whole = fs::read(folder.path().join("a.json")).unwrap();
    fs::write(folder.path().join("cut.json"), &whole[..whole.len() / 2]).unwrap();
    let newer = |schema: &str| format!("{{\"schema\": \"{schema}\"}}");
    fs::write(folder.path().join("newer.json"), newer("tracer.baseline/2")).unwrap();
    fs::write(folder.path().join("older.json"), newer("tracer.report/0")).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    folder
}

#[test]
fn a_baseline_is_saved_listed_and_checked_against() {
    let folder = folder();
    let at = folder.path();
    let save = ["baseline", "save", "a.json", "--name", "v6.12"];
    assert_eq!(outcome(at, &save).0, 0);
    let (code, _, words) = outcome(at, &save);
    assert!(code == 3 && words.contains("--replace"), "{words}");
    let (code, list, _) = outcome(at, &["baseline", "list"]);
    assert!(
        code == 0 && list.contains("v6.12") && list.contains("Linux 6.12"),
        "{list}"
    );
    let (_, list, _) = outcome(at, &["baseline", "list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["baselines"][0]["scenario"], "native-disk");

    let (code, text, _) = outcome(at, &["check", "b.json", "--baseline", "v6.12"]);
    assert!(code == 0 && text.starts_with("passed"), "{text}");
    let (code, text, _) = outcome(at, &["check", "slow.json", "--baseline", "v6.12"]);
    assert_eq!(code, 1);
    assert!(text.starts_with("REGRESSED"), "{text}");
    assert!(
        text.contains("blk.issue..irq.entry adds most: +20.0 us"),
        "{text}"
    );
    // The same by any other name.
    for name in ["a.json", "baselines/v6.12.json", "./a.json"] {
        assert_eq!(
            outcome(at, &["check", "slow.json", "--baseline", name]).0,
            1,
            "{name}"
        );
    }
    let args = [
        "check",
        "slow.json",
        "--baseline",
        "v6.12",
        "--format",
        "junit",
        "-o",
        "out",
    ];
    assert_eq!(outcome(at, &args), (1, String::new(), String::new()));
    assert!(
        fs::read_to_string(at.join("out"))
            .unwrap()
            .contains("<failure message=")
    );
}

#[test]
fn a_run_directory_is_not_checked_against_itself() {
    let recordings = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/disk-vbd");
    let folder = tempfile::tempdir().unwrap();
    let save = ["baseline", "save", recordings, "--name", "lab"];
    assert_eq!(outcome(folder.path(), &save).0, 0);
    let saved = fs::read_to_string(folder.path().join("baselines/lab.json")).unwrap();
    assert!(
        !saved.contains(recordings),
        "a baseline goes to other machines"
    );
    for baseline in [recordings, "lab"] {
        let (code, text, words) = outcome(
            folder.path(),
            &["check", recordings, "--baseline", baseline],
        );
        assert_eq!(code, 2, "{text}{words}");
        assert!(text.contains("is itself in the baseline"), "{text}");
    }
}

#[test]
fn what_cannot_tell_ends_with_2_unless_the_policy_lets_it_pass() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("policy.toml"), "cannot_tell = \"pass\"").unwrap();
    let mut few = report("6.13", 10);
    for iterations in few.breakdowns.iter_mut().flat_map(|own| {
        let stages = own.stages.iter_mut().map(|stage| &mut stage.iterations);
        stages.chain([&mut own.iterations])
    }) {
        iterations.truncate(3);
    }
    fs::write(at.join("few.json"), serde_json::to_vec(&few).unwrap()).unwrap();
    let args = ["check", "few.json", "--baseline", "a.json"];
    let (code, text, words) = outcome(at, &args);
    assert_eq!(code, 2, "{text}");
    assert!(
        text.starts_with("CANNOT TELL: 24 undecided of 24 figures\n"),
        "{text}"
    );
    let said = "none of 24 figures could be tested firmly: about 3 more iterations a run would";
    assert!(text.contains(said), "{text}");
    assert!(words.contains("cannot tell: none of 24 figures"), "{words}");
    assert_eq!(outcome(at, &[&args[..], &["--bisect"]].concat()).0, 125);
    let (_, markdown, _) = outcome(at, &[&args[..], &["--format", "markdown"]].concat());
    assert!(
        markdown.starts_with("### ⚠️ tracer: CANNOT TELL"),
        "{markdown}"
    );
    let (_, junit, _) = outcome(at, &[&args[..], &["--format", "junit"]].concat());
    assert!(junit.contains("<error message=\"CANNOT TELL"), "{junit}");
    let (code, text, _) = outcome(at, &[&args[..], &["--policy", "policy.toml"]].concat());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("WARNING: {said}")), "{text}");
}

#[test]
fn what_cannot_be_compared_ends_with_2_and_a_reason() {
    let folder = folder();
    for (name, said) in [
        ("other.json", "run the same scenario"),
        ("partial.json", "is a partial run (killed): make it again"),
        ("lossy.json", "lost 50.0% of its requests"),
        ("packets.json", "no datapath in common"),
        ("machine.json", "different machines (CPUs: 2 and 64)"),
    ] {
        let (code, text, words) = outcome(folder.path(), &["check", name, "--baseline", "a.json"]);
        assert_eq!(code, 2, "{words}");
        assert!(
            text.starts_with("NOT COMPARABLE") && text.contains(said),
            "{text}"
        );
        assert!(words.contains(said), "{words}");
        let args = ["check", "a.json", "--baseline", name, "--bisect"];
        assert_eq!(outcome(folder.path(), &args).0, 125, "{name}");
    }
    let args = ["check", "a.json", "other.json", "--baseline", "a.json"];
    assert_eq!(outcome(folder.path(), &args).0, 2);
    let (code, _, words) = outcome(
        folder.path(),
        &["baseline", "save", "a.json", "other.json", "--name", "x"],
    );
    assert!(
        code == 2 && words.contains("run the same scenario"),
        "{words}"
    );
    // What a policy allows can be saved, too.
    fs::write(folder.path().join("policy.toml"), "max_lost_percent = 60").unwrap();
    let save = ["baseline", "save", "lossy.json", "--name", "lossy"];
    assert_eq!(outcome(folder.path(), &save).0, 2);
    let save = [&save[..], &["--policy", "policy.toml"]].concat();
    assert_eq!(outcome(folder.path(), &save).0, 0);
}

/// Lines that end with 3, and with 128 where they are to bisect, and what is said of them.
fn assert_refused(folder: &Path, lines: &[(&str, &str)]) {
    for (line, said) in lines {
        let args: Vec<&str> = line.split(' ').collect();
        let (code, text, words) = outcome(folder, &args);
        assert_eq!((code, text.as_str()), (3, ""), "{line}: {words}");
        assert!(words.contains(said), "{line}: {words}");
        if args[0] == "check" {
            let args = [&args[..], &["--bisect"]].concat();
            assert_eq!(outcome(folder, &args).0, 128, "{line}");
        }
    }
}

#[test]
fn files_that_cannot_be_read_end_with_3_and_what_to_do() {
    let folder = folder();
    let lines = [
        (
            "check nowhere --baseline a.json",
            "cannot read nowhere; name a run",
        ),
        (
            "check cut.json --baseline a.json",
            "cut.json is not a report: it is not JSON",
        ),
        (
            "check older.json --baseline a.json",
            "only tracer.report/1 can be read",
        ),
        (
            "check old.json --baseline a.json",
            "an older tracer made it; save it again",
        ),
        ("check empty --baseline a.json", "it has no manifest.json"),
        (
            "check a.json --baseline cut.json",
            "cut.json is not a baseline: it is not JSON",
        ),
        (
            "check a.json --baseline newer.json",
            "only tracer.baseline/1 can be read",
        ),
        (
            "check a.json --baseline v9",
            "there is no baseline v9 in baselines",
        ),
        (
            "check a.json --baseline ../v9",
            "../v9 is not there; name a baseline",
        ),
    ];
    assert_refused(folder.path(), &lines);
}

#[test]
fn wrong_usage_ends_with_3_and_writes_nothing() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("policy.toml"), "\nalpa = 1\n").unwrap();
    let before = fs::read_dir(at).unwrap().count();
    let lines = [
        ("check a.json", "--baseline"),
        ("check --baseline a.json", "RUN"),
        (
            "check a.json --baseline a.json --policy policy.toml",
            "policy.toml:2:1: alpa: unknown field `alpa`",
        ),
        (
            "baseline save a.json --name ../x",
            "is no name of a baseline",
        ),
        ("baseline save old.json --name x", "an older tracer made it"),
    ];
    assert_refused(at, &lines);
    assert_eq!(fs::read_dir(at).unwrap().count(), before);
}

#[test]
fn undecided_is_what_the_policy_says() {
    let folder = folder();
    // Two iterations cannot tell.
    let mut short = report("6.13", 30_000);
    let breakdown = &mut short.breakdowns[0];
    breakdown.iterations.truncate(2);
    breakdown
        .stages
        .iter_mut()
        .for_each(|stage| stage.iterations.truncate(2));
    fs::write(
        folder.path().join("short.json"),
        serde_json::to_vec(&short).unwrap(),
    )
    .unwrap();
    fs::write(folder.path().join("strict.toml"), "undecided = \"fail\"").unwrap();
    let args = ["check", "short.json", "--baseline", "a.json"];
    let (code, text, _) = outcome(folder.path(), &args);
    assert!(
        code == 2 && text.starts_with("CANNOT TELL") && text.contains("more iterations a run"),
        "{text}"
    );
    let strict = [&args[..], &["--policy", "strict.toml"]].concat();
    let (code, text, _) = outcome(folder.path(), &strict);
    assert!(code == 1 && text.starts_with("UNDECIDED"), "{text}");
    assert!(
        text.contains("blk.issue..irq.entry    max"),
        "all that fails is shown: {text}"
    );
    let bisect = [&strict[..], &["--bisect"]].concat();
    assert_eq!(outcome(folder.path(), &bisect).0, 125);
}

#[test]
fn a_history_takes_a_run_once_and_is_exported() {
    let folder = folder();
    let at = folder.path();
    let append = [
        "history",
        "append",
        "a.json",
        "slow.json",
        "--dir",
        "history",
    ];
    assert_eq!(outcome(at, &append).0, 0);
    assert_eq!(outcome(at, &append).0, 0);
    assert_eq!(fs::read_dir(at.join("history")).unwrap().count(), 2);
    let export = [
        "history",
        "export",
        "--dir",
        "history",
        "--format",
        "openmetrics",
    ];
    let (code, text, _) = outcome(at, &export);
    assert!(code == 0 && text.ends_with("# EOF\n"), "{text}");
    let args = [
        "history", "export", "--dir", "history", "--format", "parquet", "-o", "out",
    ];
    assert_eq!(outcome(at, &args).0, 0);
    assert!(fs::read(at.join("out")).unwrap().starts_with(b"PAR1"));
    // A total and three stages of two runs.
    let samples = text
        .lines()
        .filter(|line| line.starts_with("tracer_mean_seconds{"));
    assert_eq!(samples.count(), 8, "{text}");
    let (code, _, words) = outcome(
        at,
        &[
            "history",
            "export",
            "--dir",
            "no",
            "--format",
            "openmetrics",
        ],
    );
    assert!(
        code == 3 && words.contains("cannot read the history no"),
        "{words}"
    );
}
