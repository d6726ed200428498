//! The check for a pull request: the verdict, what is worse or better, and the rest folded away.

use std::fmt::{Result, Write as _};

use super::{COLUMNS, cells, headline, is_news, method, remark, rows, sentences};
use crate::analysis::check::{BreakdownChecked, Check, StageChecked, Test, Verdict};

pub(super) fn render(check: &Check) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, check);
    out
}

fn write(out: &mut String, check: &Check) -> Result {
    let mark = match check.verdict {
        Verdict::Passed => "✅",
        Verdict::Regressed => "❌",
        Verdict::Undecided | Verdict::NotComparable => "⚠️",
    };
    writeln!(out, "### {mark} tracer: {}\n", headline(check))?;
    for line in check.reasons.iter().chain(&sentences(check)) {
        writeln!(out, "- {}", escaped(line))?;
    }
    for warning in &check.warnings {
        writeln!(out, "- warning: {}", escaped(warning))?;
    }
    for difference in &check.differences {
        let (what, a, b) = (&difference.what, &difference.a, &difference.b);
        writeln!(out, "- {}: {} → {}", escaped(what), escaped(a), escaped(b))?;
    }
    for breakdown in &check.breakdowns {
        write_table(out, check, breakdown, |test| is_news(check, test))?;
    }
    if check.breakdowns.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n<details><summary>All stages</summary>")?;
    for breakdown in &check.breakdowns {
        write_table(out, check, breakdown, |_| true)?;
    }
    writeln!(out, "\n{}\n\n</details>", method(check))
}

fn write_table(
    out: &mut String,
    check: &Check,
    breakdown: &BreakdownChecked,
    is_shown: impl Fn(&Test) -> bool,
) -> Result {
    let mut rows: Vec<(&StageChecked, &Test)> = rows(check, breakdown);
    rows.retain(|(_, test)| is_shown(test));
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n**{}**\n", escaped(&breakdown.title))?;
    writeln!(out, "| stage | {} | |", COLUMNS.join(" | "))?;
    writeln!(
        out,
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"
    )?;
    for (stage, test) in rows {
        let remark = remark(test);
        let remark = if remark.is_empty() {
            remark
        } else {
            format!(": {remark}")
        };
        writeln!(
            out,
            "| {} | {} | {}{remark} |",
            code(&stage.name),
            cells(test).map(|cell| escaped(&cell)).join(" | "),
            test.status.name()
        )?;
    }
    Ok(())
}

/// A name as code; nothing can be escaped in that.
fn code(name: &str) -> String {
    format!("`{}`", name.replace(['`', '|', '\n', '\r'], " "))
}

/// Text that Markdown, or HTML in it, would take for its own.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\n' | '\r' => escaped.push(' '),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '@' | '#' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}
