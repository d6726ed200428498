//! The questions that the paper left open, and what the runs say of them. All of it is computed: without
//! runs there is no answer.

mod cost;
mod dom0;
mod jitter;
mod transmit;

use crate::{
    Breakdown,
    compare::{Comparison, Pair, Selection, Stretch, compare},
    paper::{
        case::Case,
        figure,
        figure_key::FigureKey,
        runs::{Run, Runs},
        statistics::{self, Estimate},
    },
    units::{percent, step, time},
};

/// Rows of a table of stretches.
const ROWS: usize = 6;
/// One that differs by less than this share of the largest difference has none.
const WORTH: f64 = 0.005;

/// A question, and the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// What it is about, in a few words.
    pub title: &'static str,
    /// What the paper saw, or what is asked.
    pub asked: &'static str,
    /// What the runs say.
    pub outcome: Outcome,
    /// The evidence, sentence by sentence.
    pub evidence: Vec<String>,
    /// ... and in figures.
    pub tables: Vec<Table>,
    /// What speaks against believing it.
    pub cautions: Vec<String>,
}

/// What the runs say of what the paper saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They show it, too.
    Reproduced,
    /// They do not.
    NotReproduced,
    /// It was measured; there was nothing to reproduce.
    Measured,
    /// They cannot tell, and why.
    CannotTell(String),
}

/// A table: its title, its head, its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Names of its columns; the first ones are text, see `texts`.
    pub head: Vec<String>,
    /// How many columns, from the first on, are text and not numbers.
    pub texts: usize,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

impl Question {
    /// Before anything is known.
    const fn new(title: &'static str, asked: &'static str) -> Self {
        Self {
            title,
            asked,
            outcome: Outcome::Measured,
            evidence: Vec::new(),
            tables: Vec::new(),
            cautions: Vec::new(),
        }
    }

    fn cannot_tell(self, why: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::CannotTell(why.into()),
            ..self
        }
    }

    /// Adds what keeps a comparison from being believed, each once.
    fn warn(&mut self, comparison: &Comparison) {
        for warning in &comparison.warnings {
            if !self.cautions.contains(warning) {
                self.cautions.push(warning.clone());
            }
        }
    }
}

/// All questions.
pub(super) fn all(runs: &Runs) -> Vec<Question> {
    vec![
        dom0::question(runs),
        jitter::question(runs),
        transmit::question(runs),
        cost::question(runs),
    ]
}

/// The runs of two cases; else says which is missing.
fn both(runs: &Runs, a: Case, b: Case) -> Result<(&Run, &Run), String> {
    match (runs.get(a), runs.get(b)) {
        (Some(a), Some(b)) => Ok((a, b)),
        (None, None) => Err(format!("not run: {}; {}", a.name(), b.name())),
        (None, _) => Err(format!("not run: {}", a.name())),
        (_, None) => Err(format!("not run: {}", b.name())),
    }
}

/// Two runs held against each other, and the pair of requests of A's case.
fn compared(a: &Run, b: &Run, case: Case) -> Result<(Comparison, Pair), String> {
    let comparison = compare(&a.input, &b.input, &Selection::default())
        .map_err(|error| format!("the runs cannot be compared: {error}"))?;
    let breakdown = case.breakdown(&a.input.report);
    let title = breakdown.map(Breakdown::title);
    let mut pairs = comparison.pairs.iter();
    let pair = pairs.find(|pair| Some(&pair.a.title) == title.as_ref());
    let pair = pair.cloned().ok_or_else(|| {
        "the runs have no requests that could be held against each other".to_owned()
    })?;
    Ok((comparison, pair))
}

/// The mean time of a request, over the iterations' means, in nanoseconds.
fn request_time(run: &Run, case: Case) -> Result<Estimate, String> {
    let breakdown = case
        .breakdown(&run.input.report)
        .ok_or_else(|| format!("{} has no requests: {}", run.input.source, case.name()))?;
    let means: Vec<f64> = breakdown
        .iterations
        .iter()
        .map(|iteration| iteration.mean_ns)
        .collect();
    statistics::mean(&means)
        .ok_or_else(|| format!("{} has no iterations of requests", run.input.source))
}

/// A time with its interval.
fn time_and_interval(estimate: &Estimate) -> String {
    with_interval(estimate, time)
}

/// A figure's value with its interval and unit.
fn value_and_interval(key: FigureKey, estimate: &Estimate) -> String {
    with_interval(estimate, |value| {
        format!("{} {}", digits(value), key.unit())
    })
}

fn with_interval(estimate: &Estimate, words: impl Fn(f64) -> String) -> String {
    let value = words(estimate.value);
    match estimate.interval {
        Some((low, high)) => format!("{value} (95%: {} to {})", words(low), words(high)),
        None => format!("{value} (no interval: {} iteration)", estimate.count),
    }
}

/// A number with four significant digits.
#[must_use]
pub fn digits(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e7).contains(&value.abs()) {
        return format!("{value:.3e}");
    }
    let power = value.abs().max(1e-3).log10().floor() as i32;
    let places = usize::try_from(3 - power).unwrap_or(0);
    match value {
        0.0 => "0".into(),
        _ => format!("{value:.places$}"),
    }
}

/// The value of a case in a figure, in words; else why there is none.
fn in_figure(key: FigureKey, case: Case, runs: &Runs) -> String {
    match figure::estimate(key, case, runs) {
        Ok(estimate) => value_and_interval(key, &estimate),
        Err(why) => why,
    }
}

/// Where the requests of a pair differ most, between points that both have.
fn stretches(pair: &Pair, a: &str, b: &str) -> Table {
    let size = |stretch: &Stretch| stretch.part.mean_ns.step().abs();
    let mut stretches: Vec<&Stretch> = pair.stretches.iter().collect();
    stretches.sort_by(|x, y| size(y).total_cmp(&size(x)));
    let least = stretches
        .first()
        .map_or(0.0, |largest| WORTH * size(largest));
    let rows = stretches
        .into_iter()
        .take(ROWS)
        .filter(|stretch| size(stretch) >= least)
        .map(|stretch| row(pair, stretch));
    Table {
        title: format!("Where requests differ most ({})", pair.title()),
        head: ["stretch", "components", a, b, "difference", "share of it"]
            .map(Into::into)
            .into(),
        texts: 2,
        rows: rows.collect(),
    }
}

fn row(pair: &Pair, stretch: &Stretch) -> Vec<String> {
    let mut components: Vec<&str> = Vec::new();
    for stage in &pair.stages {
        let (name, component) = (stage.name(), stage.component.name());
        let is_member = stretch.stages_a.contains(&name) || stretch.stages_b.contains(&name);
        if is_member && !components.contains(&component) {
            components.push(component);
        }
    }
    let mean = &stretch.part.mean_ns;
    let share = stretch.part.share_of_difference;
    let share = share.filter(|_| pair.means_differ());
    let figure =
        |value: Option<f64>, words: fn(f64) -> String| value.map_or_else(|| "–".into(), words);
    vec![
        format!("{} … {}", stretch.from, stretch.to),
        components.join(", "),
        figure(mean.a, time),
        figure(mean.b, time),
        figure(mean.difference, step),
        figure(share, percent),
    ]
}
