//! The check for a pull request: the verdict, what is worse or better, and the rest folded away.

use std::fmt::{Result, Write as _};

use super::{COLUMNS, Row, headline, method, rows, sentences};
use crate::check::{BreakdownChecked, Check, Verdict};

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
        Verdict::Undecided | Verdict::CannotTell | Verdict::NotComparable => "⚠️",
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
        write_table(out, check, breakdown, |row| row.is_news)?;
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
    is_shown: impl Fn(&Row<'_>) -> bool,
) -> Result {
    let mut rows = rows(check, breakdown);
    rows.retain(is_shown);
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n**{}**\n", escaped(&breakdown.title))?;
    writeln!(out, "| stage | {} | |", COLUMNS.join(" | "))?;
    writeln!(
        out,
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"
    )?;
    for row in rows {
        let remark = if row.remark.is_empty() {
            row.remark
        } else {
            format!(": {}", escaped(&row.remark))
        };
        writeln!(
            out,
            "| {} | {} | {}{remark} |",
            code(row.stage),
            row.cells.map(|cell| escaped(&cell)).join(" | "),
            row.status.name()
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
