//! Fixed recordings checked against a baseline, in every format, against files that people have read
//! (`TRACER_BLESS=1` writes them anew).

use tracer_analysis::{
    Report,
    check::{BreakdownChecked, Check, CheckedRun, Policy, Verdict, check},
    report::check::{Format, render},
};

use crate::{report, support::assert_golden};

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
