//! Which breakdown of A is held against which of B.

use std::cmp::Reverse;

use crate::{
    breakdown::Breakdown,
    compare::{CompareError, Selection, document::Unpaired, side::Side},
};

/// The breakdowns of both runs, sorted out.
#[derive(Debug, Default)]
pub(super) struct Pairing<'r> {
    /// Paired, in A's order.
    pub(super) pairs: Vec<(&'r Breakdown, &'r Breakdown)>,
    /// The others, and why.
    pub(super) unpaired: Vec<Unpaired>,
    /// Where another choice would have been as good.
    pub(super) warnings: Vec<String>,
}

/// The class of a datapath: `disk` of `disk/vbd`.
fn class(breakdown: &Breakdown) -> &str {
    breakdown.datapath.split('/').next().unwrap_or_default()
}

/// What both sides of a pair have in common: class of the datapath and operation.
fn kind(breakdown: &Breakdown) -> String {
    format!("{} {}", class(breakdown), breakdown.operation)
}

/// How well two breakdowns fit: of one datapath before of one domain before of one device. `None`:
/// they are not of one kind.
fn fit(a: &Breakdown, b: &Breakdown) -> Option<u8> {
    let same_kind = a.operation == b.operation && class(a) == class(b);
    same_kind.then(|| {
        u8::from(a.datapath == b.datapath) << 2
            | u8::from(a.domain == b.domain) << 1
            | u8::from(a.device == b.device)
    })
}

/// Pairs breakdowns by class and operation, the best fit first. Where both selections leave one each,
/// these are a pair, whatever they are.
///
/// # Errors
/// If a selection selects nothing.
pub(super) fn pair<'r>(
    a: &'r [Breakdown],
    b: &'r [Breakdown],
    selection: &Selection,
) -> Result<Pairing<'r>, CompareError> {
    let chosen_a = select(Side::A, a, selection.a.as_deref())?;
    let chosen_b = select(Side::B, b, selection.b.as_deref())?;
    let mut pairing = Pairing::default();
    let both = selection.a.is_some() && selection.b.is_some();
    let indices = match (&chosen_a[..], &chosen_b[..]) {
        ([a], [b]) if both => vec![(*a, *b)],
        _ => best_fits(a, &chosen_a, b, &chosen_b, &mut pairing.warnings),
    };
    pairing.pairs = indices.iter().map(|(i, j)| (&a[*i], &b[*j])).collect();
    let paired_a: Vec<usize> = indices.iter().map(|pair| pair.0).collect();
    let paired_b: Vec<usize> = indices.iter().map(|pair| pair.1).collect();
    let sides = [
        (Side::A, a, &chosen_a, paired_a, b),
        (Side::B, b, &chosen_b, paired_b, a),
    ];
    for (side, own, chosen, paired, other) in sides {
        let left = (0..own.len()).filter(|index| !paired.contains(index));
        pairing.unpaired.extend(left.map(|index| {
            let why = why_not(&own[index], chosen.contains(&index), other, side);
            Unpaired {
                side,
                title: own[index].title(),
                count: own[index].total.count,
                why,
            }
        }));
    }
    Ok(pairing)
}

/// The breakdowns that a selection means: those with the text in their titles.
fn select(
    side: Side,
    breakdowns: &[Breakdown],
    text: Option<&str>,
) -> Result<Vec<usize>, CompareError> {
    let Some(text) = text else {
        return Ok((0..breakdowns.len()).collect());
    };
    let chosen: Vec<usize> = (0..breakdowns.len())
        .filter(|index| breakdowns[*index].title().contains(text))
        .collect();
    if chosen.is_empty() {
        return Err(CompareError::NoneSelected {
            side: side.name(),
            text: text.into(),
            titles: titles(breakdowns),
        });
    }
    Ok(chosen)
}

/// The breakdowns' titles, for an error.
pub(super) fn titles(breakdowns: &[Breakdown]) -> String {
    if breakdowns.is_empty() {
        return "no requests".into();
    }
    let titles: Vec<String> = breakdowns.iter().map(Breakdown::title).collect();
    titles.join("; ")
}

/// Pairs of one kind, the best fit first, then in the order of the reports.
fn best_fits(
    a: &[Breakdown],
    chosen_a: &[usize],
    b: &[Breakdown],
    chosen_b: &[usize],
    warnings: &mut Vec<String>,
) -> Vec<(usize, usize)> {
    let mut candidates: Vec<(Reverse<u8>, usize, usize)> = chosen_a
        .iter()
        .flat_map(|i| chosen_b.iter().map(move |j| (*i, *j)))
        .filter_map(|(i, j)| Some((Reverse(fit(&a[i], &b[j])?), i, j)))
        .collect();
    candidates.sort_unstable();
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (fit, i, j) in &candidates {
        let is_free = |i: usize, j: usize| pairs.iter().all(|pair| pair.0 != i && pair.1 != j);
        if !is_free(*i, *j) {
            continue;
        }
        let rivals = |same: &dyn Fn(usize, usize) -> bool| {
            let rival = |other: &&(Reverse<u8>, usize, usize)| {
                other.0 == *fit && same(other.1, other.2) && is_free(other.1, other.2)
            };
            candidates.iter().filter(rival).count()
        };
        for (side, count, option) in [
            (Side::A, rivals(&|_, other| other == *j), "--select-a"),
            (Side::B, rivals(&|other, _| other == *i), "--select-b"),
        ] {
            if count > 1 {
                let kind = kind(&a[*i]);
                let taken = if side == Side::A { &a[*i] } else { &b[*j] };
                warnings.push(format!(
                    "{kind}: {count} breakdowns of {} fit as well as each other, the first was taken: {}; {option} TEXT chooses another",
                    side.name(),
                    taken.title()
                ));
            }
        }
        pairs.push((*i, *j));
    }
    pairs.sort_unstable();
    pairs
}

/// Why a breakdown has no counterpart.
fn why_not(own: &Breakdown, chosen: bool, other: &[Breakdown], side: Side) -> String {
    let other_side = if side == Side::A { Side::B } else { Side::A };
    if !chosen {
        "not selected".into()
    } else if other.iter().any(|other| fit(own, other).is_some()) {
        let (kind, other) = (kind(own), other_side.name());
        format!("every {kind} of {other} is paired with another one, or not selected")
    } else {
        format!("{} has no {}", other_side.name(), kind(own))
    }
}
