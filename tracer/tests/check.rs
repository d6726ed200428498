//! Fixed recordings checked against a baseline, in every format, against files that people have read
//! (`TRACER_BLESS=1` writes them anew); and what the commands say of what cannot be checked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, path::Path};

use serde_json::Value;
use support::{assert_golden, host, outcome};
use tempfile::TempDir;
use tracer::{
    analysis::{
        BreakdownBuilder, Names, Report,
        check::{BreakdownChecked, Check, CheckedRun, Policy, Verdict, check},
        document::DomainReport,
    },
    report::check::{Format, render},
    span::Span,
};
use tracer_common::point::Point;

/// A request whose device takes `extra` nanoseconds longer; requests differ by a simple rule.
fn span(number: u64, extra: u64) -> Span {
    let steps = [
        (Point::BlkQueue, 0),
        (Point::BlkIssue, 2_000 + number % 7 * 30),
        (Point::IrqEntry, 80_000 + number % 13 * 700 + extra),
        (Point::BlkComplete, 4_000 + number % 5 * 60),
    ];
    let mut at = 1_000_000 * number;
    let points = steps.iter().map(|(point, step)| {
        at += step;
        (*point, at)
    });
    Span {
        datapath: "disk/native",
        iteration: u32::try_from(number / 40).unwrap(),
        device: 8 << 20,
        bytes: 4096,
        points: points.collect(),
        ..Span::default()
    }
}

/// A report of eight iterations on a kernel.
fn report(kernel: &str, extra: u64) -> Report {
    let mut builder = BreakdownBuilder::new(3);
    (0..320).for_each(|number| builder.add(&span(number, extra)));
    let host = host(kernel, "none");
    Report {
        schema: "tracer.report/1".into(),
        version: "0".into(),
        scenario: "native-disk".into(),
        started: format!("2026-01-01T00:00:00Z {kernel}"),
        host: host.clone(),
        domains: vec![DomainReport {
            name: "native".into(),
            host,
            spans: 320,
            ..DomainReport::default()
        }],
        breakdowns: builder.finish(&Names {
            domain: "native".into(),
            devices: [(8 << 20, "sda <&> \"x\"".into())].into(),
            ..Names::default()
        }),
        ..Report::default()
    }
}

fn checked_run(source: &str, report: Report) -> CheckedRun {
    CheckedRun {
        source: source.into(),
        scenario: None,
        max_lost_percent: 1.0,
        report,
    }
}

fn slower() -> Check {
    let base = checked_run("runs/<a>", report("6.12", 0));
    let new = checked_run("runs/b", report("6.13", 20_000));
    let policy = Policy::parse("ignore_stages = [\"irq.entry..blk.complete\"]", "p").unwrap();
    let mut check = check(&[base], &[new], &policy);
    check.version = "0".into();
    check
}

fn refused() -> Check {
    let base = checked_run("a", report("6.12", 0));
    let mut other = report("6.13", 0);
    other.partial = Some("killed, with a <signal> & more".into());
    check(&[base], &[checked_run("b", other)], &Policy::default())
}

fn rendered(check: &Check, format: Format) -> String {
    String::from_utf8(render(check, format).unwrap()).unwrap()
}

#[test]
fn text() {
    assert_golden("check.txt", &rendered(&slower(), Format::Text));
}

#[test]
fn json() {
    let text = rendered(&slower(), Format::Json);
    assert_golden("check.json", &text);
    assert_eq!(serde_json::from_str::<Check>(&text).unwrap(), slower());
}

#[test]
fn junit() {
    let text = rendered(&slower(), Format::Junit);
    assert_golden("check.junit.xml", &text);
    assert!(text.contains("sda &lt;&amp;&gt; &quot;x&quot;"));
}

#[test]
fn junit_is_xml_whatever_a_device_is_called() {
    let mut check = slower();
    check.breakdowns[0].title = "sda\u{1}\u{1b}\u{ffff}\t]]>".into();
    check.warnings.push("\u{8}".into());
    let text = rendered(&check, Format::Junit);
    let is_legal = |c: char| matches!(c, '\n' | '\t') || (' '..'\u{fffe}').contains(&c);
    assert!(text.chars().all(is_legal), "{text}");
    assert!(text.contains("sda\u{fffd}\u{fffd}\u{fffd}"), "{text}");
}

#[test]
fn markdown() {
    let text = rendered(&slower(), Format::Markdown);
    assert_golden("check.md", &text);
    assert!(!text.contains("<&>"));
}

#[test]
fn stages_that_regress_without_their_total_are_named_the_one_that_rose_most_first() {
    let mut check = slower();
    let BreakdownChecked { blamed, stages, .. } = &mut check.breakdowns[0];
    let names = [1, 2].map(|at| stages[at].name.clone());
    stages[0].tests.clear();
    stages[1].tests = stages[2].tests.clone();
    let blamed = blamed.as_mut().unwrap();
    (blamed.total, blamed.stage) = (false, names[1].clone());
    let said = format!("{}: the mean is", names[1]);
    for format in [Format::Text, Format::Markdown] {
        let text = rendered(&check, format);
        let at = text.find(&said);
        let after = text.find(&format!("; {}: the mean is", names[0]));
        assert!(at.is_some() && at < after, "{format:?}: {text}");
    }
}

#[test]
fn what_cannot_be_compared_has_a_reason_in_every_format() {
    for format in [Format::Text, Format::Json, Format::Junit, Format::Markdown] {
        let text = rendered(&refused(), format);
        assert!(text.contains("is a partial run"), "{format:?}: {text}");
        let plain = matches!(format, Format::Text | Format::Json);
        assert!(plain || !text.contains("<signal>"), "{text}");
    }
}

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
fn a_run_directory_is_checked_against_itself() {
    let recordings = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/disk-vbd");
    let folder = tempfile::tempdir().unwrap();
    let (code, text, words) = outcome(
        folder.path(),
        &["check", recordings, "--baseline", recordings],
    );
    assert!(code == 0, "{text}{words}");
    let save = ["baseline", "save", recordings, "--name", "lab"];
    assert_eq!(outcome(folder.path(), &save).0, 0);
    let saved = fs::read_to_string(folder.path().join("baselines/lab.json")).unwrap();
    assert!(
        !saved.contains(recordings),
        "a baseline goes to other machines"
    );
    assert_eq!(
        outcome(folder.path(), &["check", recordings, "--baseline", "lab"]).0,
        0
    );
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
    let args = ["check", "short.json", "--baseline", "short.json"];
    assert_eq!(outcome(folder.path(), &args).0, 0);
    let args = ["check", "short.json", "--baseline", "a.json"];
    let (code, text, _) = outcome(folder.path(), &args);
    assert!(
        code == 0 && text.contains("more iterations a run"),
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

#[test]
fn the_order_of_runs_does_not_matter() {
    let (base, new) = (report("6.12", 0), report("6.13", 500));
    let runs = |reports: [&Report; 2]| reports.map(|report| checked_run("run", report.clone()));
    let policy = Policy::default();
    let first = check(&runs([&base, &new]), &runs([&new, &base]), &policy);
    let second = check(&runs([&new, &base]), &runs([&base, &new]), &policy);
    assert_eq!(first, second);
    assert_ne!(first.verdict, Verdict::Regressed);
}
