//! Two runs, side by side: whose requests take longer, and in which stage.
//!
//! The stages of each request add up to its total. So do their sums over all requests, their sums
//! divided by the number of requests, and the differences of these between two runs: with means over
//! *all* requests of a side, the differences of the stages add up to the difference of the totals. The
//! same holds for Cov(stage, total), which add up to Var(total).

mod compared;
mod differences;
mod document;
mod ends;
mod lacking;
mod load;
mod merge;
mod outcome;
mod pairing;
mod parts;
mod points;
mod pool;
mod runs;
mod side;
mod spread;
mod stretch;
mod untraced;
mod verdict;
mod way;
mod words;

pub use compared::Compared;
pub use document::{
    Comparison, ComponentCompared, Difference, Group, Lack, Lacking, NotCompared, Pair, Part,
    RunFacts, SCHEMA, StageCompared, Stretch, Unpaired, Way, Whole,
};
pub use load::{InterruptCompared, IterationsCompared};
pub use outcome::{Blamed, Outcome, Verdict};
pub use side::Side;

pub(crate) use differences::{differences, facts};
pub(crate) use pool::{find, pooled};
pub(crate) use runs::Runs;
pub(crate) use untraced::Untraced;
pub(crate) use way::{Elsewhere, sum_of_means};

use crate::{breakdown::Breakdown, compare::way::Sides, document::Report};

/// A run to compare.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it comes from, as it was named.
    pub source: String,
    /// Its report.
    pub report: Report,
    /// The share of lost requests, from 0 to 1, above which it says little.
    pub max_lost_share: f64,
    /// Whether the report's own warnings say that more was lost.
    pub warns_of_losses: bool,
}

/// Which breakdowns are meant: those with these texts in their titles. None: all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Of A.
    pub a: Option<String>,
    /// Of B.
    pub b: Option<String>,
}

/// Why two runs cannot be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// A selection selects nothing.
    #[error("no breakdown of {side} has \"{text}\" in its title; {side} has: {titles}")]
    NoneSelected {
        /// The side.
        side: &'static str,
        /// The text.
        text: String,
        /// What there is.
        titles: String,
    },
    /// There is no class and operation that both have.
    #[error(
        "there is nothing to pair: A has {a}, B has {b}; name one of each with --select-a TEXT and --select-b TEXT to hold them against each other all the same"
    )]
    NothingToPair {
        /// What A has.
        a: String,
        /// What B has.
        b: String,
    },
    /// A run has nothing to compare.
    #[error(
        "{side} has no requests to compare with the other run's ({titles}); `tracer report` on {side} says why"
    )]
    NoRequests {
        /// The side.
        side: &'static str,
        /// What the other side has.
        titles: String,
    },
    /// Neither run has anything to compare.
    #[error("neither run has requests, iterations or interrupts: there is nothing to compare")]
    Nothing,
}

/// Compares two runs.
///
/// # Errors
/// If they have nothing in common, or a selection selects nothing.
pub fn compare(a: &Input, b: &Input, selection: &Selection) -> Result<Comparison, CompareError> {
    let (breakdowns_a, breakdowns_b) = (&a.report.breakdowns, &b.report.breakdowns);
    let pairing = pairing::pair(breakdowns_a, breakdowns_b, selection)?;
    if pairing.pairs.is_empty() {
        check_unpaired(a, b)?;
    }
    let untraced = [a, b].map(|input| Untraced::of([&input.report]));
    let pairs: Vec<Pair> = pairing
        .pairs
        .iter()
        .filter_map(|(a, b)| {
            let [untraced_a, untraced_b] = &untraced;
            let (a, b) = ([*a], [*b]);
            let side = |own, untraced| Runs {
                breakdowns: own,
                untraced,
            };
            Some(pair(&side(&a, untraced_a), &side(&b, untraced_b))?.0)
        })
        .collect();
    let mut warnings = differences::warnings(a, b);
    warnings.extend(pairing.warnings);
    for (pair, (a, b)) in pairs.iter().zip(&pairing.pairs) {
        warnings.extend(words::warnings(pair, a, b));
    }
    Ok(Comparison {
        schema: SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        a: differences::facts_of(a),
        b: differences::facts_of(b),
        warnings,
        differences: differences::differences(&a.report, &b.report, &pairing.pairs),
        pairs,
        unpaired: pairing.unpaired,
        iterations: load::iterations(&a.report, &b.report),
        interrupts: load::interrupts(&a.report.interrupts, &b.report.interrupts),
    })
}

/// Runs that trace no requests (interrupts only, say) still have iterations to compare.
fn check_unpaired(a: &Input, b: &Input) -> Result<(), CompareError> {
    let titles = |input: &Input| pairing::titles(&input.report.breakdowns);
    let none = |input: &Input| input.report.breakdowns.is_empty();
    match (none(a), none(b)) {
        (false, false) => Err(CompareError::NothingToPair {
            a: titles(a),
            b: titles(b),
        }),
        (true, false) => Err(CompareError::NoRequests {
            side: Side::A.name(),
            titles: titles(b),
        }),
        (false, true) => Err(CompareError::NoRequests {
            side: Side::B.name(),
            titles: titles(a),
        }),
        (true, true) => {
            let empty = |report: &Report| report.summary.is_none() && report.interrupts.is_empty();
            if empty(&a.report) || empty(&b.report) {
                return Err(CompareError::Nothing);
            }
            Ok(())
        }
    }
}

/// The breakdowns of two runs that are of one kind, the best fits.
pub(crate) fn pair_breakdowns<'r>(
    a: &'r [Breakdown],
    b: &'r [Breakdown],
) -> Vec<(&'r Breakdown, &'r Breakdown)> {
    let pairing = pairing::pair(a, b, &Selection::default());
    pairing.map_or_else(|_| Vec::new(), |pairing| pairing.pairs)
}

/// Two sides side by side, and where their totals are not of the same way. None: a side has no breakdown.
pub(crate) fn pair(a: &Runs<'_>, b: &Runs<'_>) -> Option<(Pair, Option<Elsewhere>)> {
    let (pooled_a, pooled_b) = (pooled(a.breakdowns)?, pooled(b.breakdowns)?);
    let sides = Sides::new(&pooled_a, &pooled_b, a, b);
    let total = parts::whole(&sides);
    let way = parts::way(&sides, &total);
    let stages = parts::stages(&sides, way.as_ref(), &total);
    let stretches = stretch::stretches(&stages, &sides, way.as_ref(), &total);
    let mut pair = Pair {
        a: parts::group(&pooled_a),
        b: parts::group(&pooled_b),
        findings: Vec::new(),
        verdict: verdict::verdict(&sides, &total, way.as_ref(), &stretches),
        points: sides.points.in_order().to_vec(),
        lacking: sides.lacking.clone(),
        components: parts::components(&stages, &sides, way.as_ref().map(|way| (way, &total))),
        way,
        total,
        stages,
        stretches,
    };
    pair.findings = words::findings(&pair, &sides);
    Some((pair, sides.elsewhere))
}

#[cfg(test)]
mod tests;
