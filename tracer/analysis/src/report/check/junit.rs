//! The check for continuous integration: a test suite a breakdown, a test case a figure of a stage.

use std::borrow::Cow;

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::{headline, remark, words};
use crate::check::{BreakdownChecked, Check, Metric, StageChecked, Status, Test, Verdict};

type Out = Writer<Vec<u8>>;

/// # Errors
/// If it cannot be written.
pub(super) fn render(check: &Check) -> anyhow::Result<Vec<u8>> {
    let mut out = Writer::new_with_indent(Vec::new(), b' ', 2);
    out.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    out.create_element("testsuites")
        .with_attribute(("name", "tracer check"))
        .write_inner_content(|out| {
            write_comparable(out, check)?;
            for breakdown in &check.breakdowns {
                write_suite(out, check, breakdown)?;
            }
            Ok(())
        })?;
    let mut bytes = out.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

/// Whether the runs can be compared is a test of its own: without it there is no other.
fn write_comparable(out: &mut Out, check: &Check) -> std::io::Result<()> {
    let is_not = matches!(check.verdict, Verdict::NotComparable | Verdict::CannotTell);
    let counts = [
        ("tests", 1),
        ("failures", 0),
        ("errors", usize::from(is_not)),
        ("skipped", 0),
    ];
    write_counted(out, "runs", counts, |out| {
        let case = out
            .create_element("testcase")
            .with_attribute(("classname", "runs"))
            .with_attribute(("name", "comparable"));
        if !is_not && check.warnings.is_empty() {
            case.write_empty()?;
            return Ok(());
        }
        case.write_inner_content(|out| {
            if is_not {
                out.create_element("error")
                    .with_attribute(("message", &*headline(check)))
                    .write_text_content(BytesText::new(&legal(&check.reasons.join("\n"))))?;
            }
            if !check.warnings.is_empty() {
                out.create_element("system-out")
                    .write_text_content(BytesText::new(&legal(&check.warnings.join("\n"))))?;
            }
            Ok(())
        })?;
        Ok(())
    })
}

/// XML 1.0 has no control characters but these, however written; names of devices and files may.
fn legal(text: &str) -> Cow<'_, str> {
    let is_illegal = |c: char| {
        c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r' | '\x7f')
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    if text.contains(is_illegal) {
        text.replace(is_illegal, "\u{fffd}").into()
    } else {
        text.into()
    }
}

fn write_counted(
    out: &mut Out,
    name: &str,
    counts: [(&str, usize); 4],
    inner: impl FnOnce(&mut Out) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let counts = counts.map(|(name, count)| (name, count.to_string()));
    out.create_element("testsuite")
        .with_attribute(("name", &*legal(name)))
        .with_attributes(counts.iter().map(|(name, count)| (*name, count.as_str())))
        .write_inner_content(inner)?;
    Ok(())
}

/// What becomes of a test.
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

fn outcome(check: &Check, test: &Test) -> Outcome {
    let said = || format!("{} ({})", words(test), remark(test));
    match test.status {
        Status::Regressed => Outcome::Failed(words(test)),
        Status::Undecided if check.verdict == Verdict::Undecided => Outcome::Failed(said()),
        Status::Undecided => Outcome::Skipped(said()),
        Status::Improved | Status::NotWorse => Outcome::Passed,
    }
}

/// What was not tested at all is no success: where that is why the check has not passed, it fails here, too.
fn untested(check: &Check, said: String) -> Outcome {
    if matches!(check.verdict, Verdict::Undecided | Verdict::CannotTell) {
        Outcome::Failed(said)
    } else {
        Outcome::Skipped(said)
    }
}

/// The case of what cannot be compared, and of what was left out.
fn not_tested(
    check: &Check,
    breakdown: &BreakdownChecked,
    stage: &StageChecked,
) -> Option<(String, Outcome)> {
    if let Some(apart) = &stage.incomparable {
        let name = format!("{} {}", stage.name, Metric::Mean.name());
        return Some((name, untested(check, format!("undecided: {}", apart.why))));
    }
    let said = format!("not checked: {}", stage.left_out.as_ref()?);
    let outcome = if breakdown.is_gone() {
        untested(check, said)
    } else {
        Outcome::Skipped(said)
    };
    Some((stage.name.clone(), outcome))
}

fn write_suite(out: &mut Out, check: &Check, breakdown: &BreakdownChecked) -> std::io::Result<()> {
    let cases: Vec<(String, Outcome)> = breakdown
        .stages
        .iter()
        .flat_map(|stage| {
            let tests = stage.tests.iter().map(|test| {
                let name = format!("{} {}", stage.name, test.metric.name());
                (name, outcome(check, test))
            });
            let others = not_tested(check, breakdown, stage);
            tests.chain(others).collect::<Vec<_>>()
        })
        .collect();
    let count = |is: fn(&Outcome) -> bool| cases.iter().filter(|(_, case)| is(case)).count();
    let counts = [
        ("tests", cases.len()),
        ("failures", count(|case| matches!(case, Outcome::Failed(_)))),
        ("errors", 0),
        ("skipped", count(|case| matches!(case, Outcome::Skipped(_)))),
    ];
    write_counted(out, &breakdown.title, counts, |out| {
        cases
            .iter()
            .try_for_each(|(name, case)| write_case(out, &breakdown.title, name, case))
    })
}

fn write_case(out: &mut Out, class: &str, name: &str, outcome: &Outcome) -> std::io::Result<()> {
    let case = out
        .create_element("testcase")
        .with_attribute(("classname", &*legal(class)))
        .with_attribute(("name", &*legal(name)));
    let (element, message) = match outcome {
        Outcome::Passed => {
            case.write_empty()?;
            return Ok(());
        }
        Outcome::Failed(message) => ("failure", message),
        Outcome::Skipped(message) => ("skipped", message),
    };
    case.write_inner_content(|out| {
        out.create_element(element)
            .with_attribute(("message", &*legal(message)))
            .write_empty()?;
        Ok(())
    })?;
    Ok(())
}
