//! The page: the open questions, figures with charts, tables, the runs. It needs nothing else.

use std::fmt::{Result, Write as _};

use crate::{
    paper::{
        Paper,
        case::Case,
        figure::{Bar, Figure},
        question::{Outcome, Question, Table, digits},
    },
    report::{
        html::{STYLE, escape},
        paper::chart,
    },
    units::ratio,
};

const OWN_STYLE: &str = include_str!("paper.css");

const TITLE: &str = "Performance evaluation of PCI Passthrough of Xen, measured again";

/// What stands for a figure that is not there.
const NOTHING: &str = "–";

pub(super) fn render(paper: &Paper) -> std::result::Result<String, std::fmt::Error> {
    let mut out = String::new();
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{TITLE}</title><style>{STYLE}{OWN_STYLE}</style></head><body><header><h1>{TITLE}</h1><p>The figures 6 to 9 and 12 and the tables 2 to 4 of Watanabe et al., from runs of <code>scenarios/paper</code>.</p>"
    )?;
    write_published(&mut out, paper)?;
    out.push_str("</header><main>");
    write_alarms(&mut out, paper)?;
    out.push_str("<section><h2>How to read it</h2><p>Bars are means over the iterations of a run. The thick line is the 95% confidence interval, the thin dashed one goes from the smallest to the largest iteration. Intervals are Student's t of means, and chi-squared of variances: they take iterations to be independent and nearly normal. A range has none, and grows with the number of iterations. The paper's value is hatched. Ours is held against it only where a run did as much work as the paper's.</p></section>");
    for question in &paper.questions {
        write_question(&mut out, question)?;
    }
    for figure in &paper.figures {
        write_figure(&mut out, figure)?;
    }
    write_runs(&mut out, paper)?;
    out.push_str("</main></body></html>\n");
    Ok(out)
}

fn write_published(out: &mut String, paper: &Paper) -> Result {
    if paper.published.is_empty() {
        out.push_str("<p>The paper's own values were not given: copy <code>scenarios/paper/published.toml</code>, fill in what the paper says, and name the copy with <code>--published FILE</code>.</p>");
        return Ok(());
    }
    let source = paper.published.source.as_deref();
    let source = source.unwrap_or("the file does not say");
    write!(
        out,
        "<p>Source of the paper's values: {}.</p>",
        escape(source)
    )
}

/// What a reader must know first.
fn write_alarms(out: &mut String, paper: &Paper) -> Result {
    for (case, run) in paper.runs.iter() {
        for doubt in run.doubts() {
            write!(
                out,
                "<p class=\"alarm\">{}: {}</p>",
                escape(&case.name()),
                escape(&doubt)
            )?;
        }
    }
    let missing: Vec<String> = Case::all()
        .filter(|case| paper.runs.get(*case).is_none())
        .map(Case::name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    write!(
        out,
        "<p class=\"caution\">{} of {} cases were not run: {}.</p>",
        missing.len(),
        Case::all().count(),
        escape(&missing.join("; "))
    )
}

fn write_question(out: &mut String, question: &Question) -> Result {
    let outcome = match &question.outcome {
        Outcome::Reproduced => "reproduced".into(),
        Outcome::NotReproduced => "not reproduced".into(),
        Outcome::Measured => "measured".into(),
        Outcome::CannotTell(why) => format!("cannot tell: {why}"),
    };
    write!(
        out,
        "<section><h2>{}</h2><p>{} <span class=\"outcome\">{}</span></p>",
        escape(question.title),
        escape(question.asked),
        escape(&outcome)
    )?;
    if !question.evidence.is_empty() {
        out.push_str("<ul>");
        for sentence in &question.evidence {
            write!(out, "<li>{}</li>", escape(sentence))?;
        }
        out.push_str("</ul>");
    }
    for table in &question.tables {
        write_table(out, table)?;
    }
    for caution in &question.cautions {
        write!(out, "<p class=\"caution\">{}</p>", escape(caution))?;
    }
    out.push_str("</section>");
    Ok(())
}

fn write_table(out: &mut String, table: &Table) -> Result {
    write!(
        out,
        "<h3>{}</h3><table class=\"paper\"><thead><tr>",
        escape(&table.title)
    )?;
    let class = |column: usize| {
        if column < table.texts {
            " class=\"text\""
        } else {
            ""
        }
    };
    for (column, name) in table.head.iter().enumerate() {
        write!(out, "<th{}>{}", class(column), escape(name))?;
    }
    out.push_str("</thead><tbody>");
    for row in &table.rows {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            write!(out, "<td{}>{}", class(column), escape(cell))?;
        }
    }
    out.push_str("</tbody></table>");
    Ok(())
}

fn write_figure(out: &mut String, figure: &Figure) -> Result {
    let (title, key, unit) = (figure.key.title(), figure.key.key(), figure.key.unit());
    write!(out, "<section id=\"{key}\"><h2>{title}</h2>")?;
    out.push_str(&chart::render(figure)?);
    write!(
        out,
        "<table class=\"paper\"><thead><tr><th class=\"text\">device<th class=\"text\">load<th>iterations<th>value, {unit}<th>95% from<th>to<th>least<th>most<th>the paper's<th>ours/paper's<th class=\"text\">notes</thead><tbody>"
    )?;
    for bar in &figure.bars {
        write_row(out, figure, bar)?;
    }
    write!(
        out,
        "</tbody></table><p class=\"quiet\">The same as <code>{key}.csv</code>.</p></section>"
    )
}

fn write_row(out: &mut String, figure: &Figure, bar: &Bar) -> Result {
    let number = |value: Option<f64>| value.map_or_else(|| NOTHING.into(), digits);
    write!(
        out,
        "<tr><td class=\"text\">{}<td class=\"text\">{}",
        bar.case.setup.name(),
        bar.case.load.name()
    )?;
    match &bar.ours {
        Ok(ours) => {
            write!(out, "<td>{}<td><b>{}</b>", ours.count, digits(ours.value))?;
            for (low, high) in [ours.interval, ours.extremes].map(Option::unzip) {
                write!(out, "<td>{}<td>{}", number(low), number(high))?;
            }
        }
        Err(why) => write!(out, "<td class=\"text\" colspan=\"6\">{}", escape(why))?,
    }
    let published = match bar.published {
        Some(value) => digits(value),
        None if figure.key.is_in_paper() => "not given".into(),
        None => NOTHING.into(),
    };
    let ratio = bar.ratio.map_or_else(|| NOTHING.into(), ratio);
    write!(
        out,
        "<td>{published}<td>{ratio}<td class=\"wide\">{}",
        escape(&bar.notes.join("; "))
    )
}

fn write_runs(out: &mut String, paper: &Paper) -> Result {
    out.push_str("<section><h2>The runs</h2><table class=\"paper\"><thead><tr><th class=\"text\">case<th class=\"text\">run<th class=\"text\">made<th>iterations<th class=\"text\">changed by<th class=\"text\">kernel<th class=\"text\">CPU</thead><tbody>");
    for case in Case::all() {
        write!(out, "<tr><td class=\"text\">{}", escape(&case.name()))?;
        let Some(run) = paper.runs.get(case) else {
            out.push_str("<td class=\"text\" colspan=\"6\">not run");
            continue;
        };
        let report = &run.input.report;
        let changes = report.changes.iter().flat_map(|changes| {
            let profiles = changes.profiles.iter();
            let profiles = profiles.map(|name| format!("--profile {name}"));
            let overrides = changes.overrides.iter();
            profiles.chain(overrides.map(|change| format!("--set {change}")))
        });
        let changes: Vec<String> = changes.collect();
        write!(
            out,
            "<td class=\"text\">{}<td class=\"text\">{}<td>{}<td class=\"wide\">{}<td class=\"text\">{}<td class=\"wide\">{}",
            escape(&run.input.source),
            escape(&report.started),
            report.iterations.len(),
            escape(&changes.join(" ")),
            escape(&report.host.kernel),
            escape(&report.host.cpu_model)
        )?;
        for warning in &report.warnings {
            write!(
                out,
                "<tr><td><td class=\"wide caution\" colspan=\"6\">{}",
                escape(warning)
            )?;
        }
    }
    out.push_str("</tbody></table></section>");
    Ok(())
}
