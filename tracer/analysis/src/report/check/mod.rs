//! A check in the forms that people and programs read.

mod junit;
mod markdown;
mod text;

use crate::{
    check::{
        Blamed, BreakdownChecked, Check, Incomparable, Metric, More, Status, Test, Verdict, Why,
    },
    units::{percent, ratio, step, time},
};

/// A form of check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a terminal.
    Text,
    /// For programs: `docs/check.md`.
    Json,
    /// For continuous integration: one test case a figure.
    Junit,
    /// For a pull request.
    Markdown,
}

/// Renders a check.
///
/// # Errors
/// If it cannot be written as JSON or XML.
pub fn render(check: &Check, format: Format) -> anyhow::Result<Vec<u8>> {
    match format {
        Format::Text => Ok(text::render(check).into_bytes()),
        Format::Json => {
            let mut bytes = serde_json::to_vec_pretty(check)?;
            bytes.push(b'\n');
            Ok(bytes)
        }
        Format::Junit => junit::render(check),
        Format::Markdown => Ok(markdown::render(check).into_bytes()),
    }
}

/// The verdict in one line.
fn headline(check: &Check) -> String {
    let word = match check.verdict {
        Verdict::Passed => "passed",
        Verdict::Regressed => "REGRESSED",
        Verdict::Undecided => "UNDECIDED",
        Verdict::CannotTell => "CANNOT TELL",
        Verdict::NotComparable => return "NOT COMPARABLE".into(),
    };
    let counts = [Status::Regressed, Status::Improved, Status::Undecided].map(|status| {
        let count = check.count(status);
        (count > 0).then(|| format!("{count} {}", status.name()))
    });
    let gone = check.gone();
    let plural = if gone == 1 { "" } else { "s" };
    let gone = (gone > 0).then(|| format!("{gone} datapath{plural} gone"));
    let figures = check.figures();
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    let figures = if counts.is_empty() && check.verdict == Verdict::CannotTell {
        format!("{figures} figures are not worse, and others could not be tested")
    } else if counts.is_empty() {
        format!("{figures} figures, none of which is worse")
    } else {
        format!("{} of {figures} figures", counts.join(", "))
    };
    let all: Vec<String> = [Some(figures), gone].into_iter().flatten().collect();
    format!("{word}: {}", all.join("; "))
}

/// Of every breakdown with a regression what regressed, and by which stage.
fn sentences(check: &Check) -> Vec<String> {
    check.breakdowns.iter().filter_map(sentence).collect()
}

fn sentence(breakdown: &BreakdownChecked) -> Option<String> {
    let what = match &breakdown.blamed {
        Some(blamed) if blamed.total => of_total(breakdown, blamed)?,
        Some(blamed) => of_stages(breakdown, blamed),
        // A total's tail, to which no stage has added.
        None => words(breakdown.stages.first()?.tests.iter().find(is_regressed)?),
    };
    Some(format!("{}: {what}", breakdown.title))
}

fn is_regressed(test: &&Test) -> bool {
    test.status == Status::Regressed
}

/// What regressed of the total, and what the stage that is blamed has to do with it.
fn of_total(breakdown: &BreakdownChecked, blamed: &Blamed) -> Option<String> {
    let whole = breakdown.stages.iter().find(|stage| {
        let mut tests = stage.tests.iter();
        tests.any(|test| is_regressed(&test) && test.metric == blamed.metric)
    })?;
    let mut of_whole = whole.tests.iter();
    let mut what = words(of_whole.find(|test| test.metric == blamed.metric)?);
    if whole.component.is_some() || breakdown.stages.first().is_some_and(|own| own != whole) {
        what = format!("{}: {what}", whole.name);
    }
    let added = step(blamed.added_ns);
    let share = blamed
        .share
        .map_or_else(String::new, |share| format!(", {} of that", percent(share)));
    let stage = &blamed.stage;
    let own = breakdown.stages.iter().find(|own| own.name == *stage)?;
    let mut of_own = own.tests.iter().filter(is_regressed);
    Some(if blamed.metric == Metric::Mean {
        format!("{what}; {stage} adds most: {added}{share}")
    } else if of_own.any(|test| test.metric == blamed.metric) {
        format!("{what}; that of {stage} rose most: {added}")
    } else {
        format!("{what}; {stage} adds most to the mean: {added}")
    })
}

/// The stages that regressed, where the total did not: the one that is blamed first.
fn of_stages(breakdown: &BreakdownChecked, blamed: &Blamed) -> String {
    let (most, others): (Vec<_>, Vec<_>) = breakdown
        .stages
        .iter()
        .partition(|stage| stage.name == blamed.stage);
    let regressed: Vec<String> = most
        .into_iter()
        .chain(others)
        .filter_map(|stage| {
            let test = stage.tests.iter().find(is_regressed)?;
            Some(format!("{}: {}", stage.name, words(test)))
        })
        .collect();
    regressed.join("; ")
}

/// A test in words: what it was, what it is.
fn words(test: &Test) -> String {
    format!(
        "the {} is {} the baseline's ({} → {})",
        test.metric.name(),
        ratio(test.ratio),
        time(test.base_ns),
        time(test.new_ns)
    )
}

/// The interval of a ratio.
fn interval(test: &Test) -> String {
    format!("{:.2} to {:.2}", test.low, test.high)
}

/// The corrected probability.
fn probability(test: &Test) -> String {
    if test.p_corrected < 1e-4 {
        "<0.0001".into()
    } else {
        format!("{:.4}", test.p_corrected)
    }
}

/// What is to be said of a test beside its figures: why it cannot tell, and what would.
fn remark(test: &Test) -> String {
    let why = match test.why {
        Some(Why::Interval) => "the interval is too wide",
        Some(Why::Chance) => "it may be chance",
        Some(Why::Few) => "too few to tell",
        Some(Why::Drift) => "the runs drift as much by themselves",
        Some(Why::OneRun) => "it is so in one run, and the total is not slower",
        Some(Why::PassedBy) => "requests that pass one of its ends by may tell otherwise",
        None => return String::new(),
    };
    let more = test
        .more
        .map_or_else(|| "needs more runs than practical".into(), More::words);
    format!("{why}: {more}")
}

/// A row of a table: a figure of a stage, tested or not to be compared.
struct Row<'c> {
    stage: &'c str,
    /// In the order of [`COLUMNS`].
    cells: [String; 6],
    status: Status,
    remark: String,
    /// Whether it is what a reader looks for: worse, better, or undecided where that fails the check.
    is_news: bool,
}

fn is_news(check: &Check, test: &Test) -> bool {
    match test.status {
        Status::Regressed | Status::Improved => true,
        Status::Undecided => check.verdict == Verdict::Undecided,
        Status::NotWorse => false,
    }
}

/// The rows of a table: the total's, every stage's mean, whatever is worse or better, and what is undecided
/// where that fails the check.
fn rows<'c>(check: &Check, breakdown: &'c BreakdownChecked) -> Vec<Row<'c>> {
    let mut rows = Vec::new();
    for (at, stage) in breakdown.stages.iter().enumerate() {
        rows.extend(
            stage
                .incomparable
                .as_ref()
                .map(|apart| apart_row(&stage.name, apart)),
        );
        let shown = stage
            .tests
            .iter()
            .filter(|test| at == 0 || test.metric == Metric::Mean || is_news(check, test));
        rows.extend(shown.map(|test| Row {
            stage: &stage.name,
            cells: cells(test),
            status: test.status,
            remark: remark(test),
            is_news: is_news(check, test),
        }));
    }
    rows
}

/// The row of what cannot be compared. What a side lacks is no time of 0.
fn apart_row<'c>(stage: &'c str, apart: &Incomparable) -> Row<'c> {
    let side = |ns: Option<f64>| ns.map_or_else(|| "-".into(), time);
    let none = || "-".to_owned();
    Row {
        stage,
        cells: [
            Metric::Mean.name().into(),
            side(apart.base_ns),
            side(apart.new_ns),
            none(),
            none(),
            none(),
        ],
        status: Status::Undecided,
        remark: apart.why.clone(),
        is_news: true,
    }
}

/// The columns of a table after the stage's name.
const COLUMNS: [&str; 6] = ["figure", "base", "new", "ratio", "interval", "p"];

/// A test's cells in these.
fn cells(test: &Test) -> [String; 6] {
    [
        test.metric.name().into(),
        time(test.base_ns),
        time(test.new_ns),
        ratio(test.ratio),
        interval(test),
        probability(test),
    ]
}

/// How it was checked, in a line.
fn method(check: &Check) -> String {
    let method = &check.method;
    format!(
        "method: alpha {} over {} tests, {}% intervals of {} draws, seed {}",
        method.alpha,
        method.tests,
        method.confidence * 100.0,
        method.resamples,
        method.seed
    )
}
