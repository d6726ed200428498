//! Whether two runs are told apart, and then which stretch is to blame. Requests are not independent of
//! each other, iterations nearly are: these are what is held against each other.

use crate::{
    breakdown::Breakdown,
    compare::{
        compared::Compared,
        document::{Pair, Stretch, Way, Whole},
        outcome::{Blamed, Outcome, Verdict},
        stretch::largest,
        way::{CommonWay, Sides},
    },
    units::time,
};

/// Means that differ by less than this share are called the same.
const SAME_MEAN: f64 = 0.01;
/// Variances that differ by less than this share are called the same.
const SAME_VARIANCE: f64 = 0.05;
/// What chance does more often than once in so many draws is not told from it.
const FEW_DRAWS: f64 = 20.0;

/// The verdict on two breakdowns; `total`, `way` and `stretches` are theirs.
pub(super) fn verdict(
    sides: &Sides<'_>,
    total: &Whole,
    way: Option<&Way>,
    stretches: &[Stretch],
) -> Verdict {
    let step = way.map_or(0.0, |way| way.mean_ns.step());
    let mean = match way {
        None => Outcome::OtherWay,
        Some(way) if differ(&way.mean_ns, SAME_MEAN) => outcome(
            &sides.iteration_means(sides.a),
            &sides.iteration_means(sides.b),
        ),
        Some(_) => Outcome::Same,
    };
    let variance = if sides.common != CommonWay::Total {
        Outcome::OtherWay
    } else if differ(&total.variance_ns2, SAME_VARIANCE) {
        outcome(&variances(sides.a), &variances(sides.b))
    } else {
        Outcome::Same
    };
    let largest = largest(stretches, step, |part| &part.mean_ns);
    Verdict {
        mean,
        variance,
        blamed: largest
            .filter(|_| mean == Outcome::Apart)
            .map(|(stretch, share)| Blamed {
                from: stretch.from.clone(),
                to: stretch.to.clone(),
                added_ns: stretch.part.mean_ns.step(),
                share,
            }),
    }
}

/// Whether two figures differ by more than a share of the larger one.
pub(super) fn differ(compared: &Compared, share: f64) -> bool {
    let size = |value: Option<f64>| value.unwrap_or(0.0).abs();
    compared.step().abs() > share * size(compared.a).max(size(compared.b))
}

fn variances(side: &Breakdown) -> Vec<f64> {
    side.iterations.iter().map(|own| own.variance_ns2).collect()
}

/// Lowest and highest.
fn range(figures: &[f64]) -> Option<(f64, f64)> {
    let low = figures.iter().copied().min_by(f64::total_cmp);
    low.zip(figures.iter().copied().max_by(f64::total_cmp))
}

/// Holds the iterations of two runs against each other.
fn outcome(a: &[f64], b: &[f64]) -> Outcome {
    let Some(((low_a, high_a), (low_b, high_b))) = range(a).zip(range(b)) else {
        return Outcome::TooFew;
    };
    if low_a <= high_b && low_b <= high_a {
        return Outcome::Overlap;
    }
    if once_in(a.len(), b.len()) < FEW_DRAWS {
        return Outcome::TooFew;
    }
    // As ratios: a machine that is slower for a while is so for all that it does.
    let gap = (low_b / high_a).max(low_a / high_b);
    let spread = (high_a / low_a).max(high_b / low_b);
    if gap > spread {
        Outcome::Apart
    } else {
        Outcome::Drift
    }
}

/// If all iterations were drawn from one bag, `n` of one side would all be below or all above `m` of the
/// other in 2 of (n + m over n) draws.
fn once_in(n: usize, m: usize) -> f64 {
    (1..=n).fold(0.5, |draws, i| draws * (m + i) as f64 / i as f64)
}

/// The verdict on the means in words.
pub(super) fn of_iterations(pair: &Pair, sides: &Sides<'_>) -> Option<String> {
    let (means_a, means_b) = (
        sides.iteration_means(sides.a),
        sides.iteration_means(sides.b),
    );
    let ((low_a, high_a), (low_b, high_b)) = range(&means_a).zip(range(&means_b))?;
    let (n, m) = (means_a.len(), means_b.len());
    let ranges = format!(
        "A {} to {} in {n}, B {} to {} in {m}",
        time(low_a),
        time(high_a),
        time(low_b),
        time(high_b)
    );
    let odds = match once_in(n, m) {
        ..=1.0 => "one each says nothing of chance".into(),
        once_in @ ..FEW_DRAWS => format!("too few to tell, chance does that once in {once_in:.0}"),
        once_in @ ..1e6 => format!("chance does that once in {once_in:.0}"),
        _ => "chance hardly ever does that".into(),
    };
    Some(match pair.verdict.mean {
        Outcome::Same | Outcome::OtherWay => return None,
        Outcome::Overlap => format!(
            "The iterations' means overlap ({ranges}): the difference may be chance, and nothing is blamed."
        ),
        Outcome::Drift => format!(
            "The iterations' means do not overlap ({ranges}): {odds}; but their gap is within what they drift by in one run, and nothing is blamed."
        ),
        Outcome::Apart | Outcome::TooFew => {
            format!("The iterations' means do not overlap ({ranges}): {odds}.")
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn noise_drift_and_few_iterations_are_not_blamed() {
        let quiet = [10.0, 11.0, 10.5, 10.2];
        assert_eq!(outcome(&quiet, &[20.0, 21.0, 20.5, 20.2]), Outcome::Apart);
        assert_eq!(outcome(&quiet, &[20.0, 40.0, 20.5, 20.2]), Outcome::Drift);
        assert_eq!(outcome(&quiet, &[20.0, 21.0, 20.5, 11.0]), Outcome::Overlap);
        assert_eq!(outcome(&quiet[..3], &[20.0, 21.0, 20.5]), Outcome::TooFew);
        assert_eq!(outcome(&[], &[20.0]), Outcome::TooFew);
    }

    #[test]
    fn draws_are_counted() {
        assert!((once_in(5, 5) - 126.0).abs() < 1e-9);
        assert!((once_in(4, 4) - 35.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn sides_are_symmetric(
            a in prop::collection::vec(0.0..100.0, 0..9),
            b in prop::collection::vec(0.0..100.0, 0..9),
        ) {
            prop_assert_eq!(outcome(&a, &b), outcome(&b, &a));
        }
    }
}
