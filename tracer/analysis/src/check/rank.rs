//! The test of Mann and Whitney (1947): how often would chance alone rank the new figures so high?

use statrs::stats_tests::{
    Alternative,
    mannwhitneyu::{MannWhitneyUMethod, mannwhitneyu},
};

/// Up to so many figures all ways to deal them to the sides are counted; above, the normal distribution is
/// as good.
const EXACT: usize = 40;

/// Where the normal distribution is used, the smaller side has at least so many figures: with fewer it is far too
/// cautious just where all of them are above, or below, all others.
const LEAST_FOR_NORMAL: usize = 6;

/// Whether the test's probabilities are right for so many figures.
pub(super) fn holds(base: usize, new: usize) -> bool {
    base + new <= EXACT || base.min(new) >= LEAST_FOR_NORMAL
}

/// The probabilities that figures of one kind, dealt to both sides at random, rank those of `new` at least as
/// high, and at least as low. Exact with ties, too, which statrs's exact test is not: all ways are counted by
/// their rank sums.
pub(super) fn p_higher_and_lower(base: &[f64], new: &[f64]) -> (f64, f64) {
    let mut all: Vec<f64> = base.iter().chain(new).copied().collect();
    all.sort_by(f64::total_cmp);
    if new.is_empty() || base.is_empty() || all.first() == all.last() {
        return (1.0, 1.0);
    }
    if all.len() > EXACT {
        let normal = |alternative| {
            let method = MannWhitneyUMethod::AsymptoticInclContinuityCorrection;
            let outcome = mannwhitneyu(new, base, method, alternative);
            outcome.map_or(1.0, |(_, p)| p.clamp(0.0, 1.0))
        };
        return (normal(Alternative::Greater), normal(Alternative::Less));
    }
    let ranks: Vec<usize> = all.iter().map(|value| twice_rank(&all, *value)).collect();
    let observed: usize = new.iter().map(|value| twice_rank(&all, *value)).sum();
    let ways = ways(&ranks, new.len());
    let share = |of: Option<&[f64]>| -> f64 {
        let some: f64 = of.unwrap_or_default().iter().sum();
        (some / ways.iter().sum::<f64>()).clamp(0.0, 1.0)
    };
    (share(ways.get(observed..)), share(ways.get(..=observed)))
}

/// Twice the mean rank of the figures that are equal to this one: a whole number.
fn twice_rank(sorted: &[f64], value: f64) -> usize {
    let below = sorted.partition_point(|other| *other < value);
    let up_to = sorted.partition_point(|other| *other <= value);
    below + up_to + 1
}

/// In how many ways so many of the ranks, in ascending order, can be chosen, by their sum. Below 2^53, so exact.
fn ways(ranks: &[usize], chosen: usize) -> Vec<f64> {
    let largest: usize = ranks.iter().rev().take(chosen).sum();
    let mut ways = vec![vec![0.0; largest + 1]; chosen + 1];
    ways[0][0] = 1.0;
    for rank in ranks {
        for count in (1..=chosen).rev() {
            let (fewer, these) = ways.split_at_mut(count);
            let (fewer, these) = (&fewer[count - 1], &mut these[0]);
            for sum in *rank..=largest {
                these[sum] += fewer[sum - rank];
            }
        }
    }
    ways.pop().unwrap_or_default()
}

/// The lowest probability that the test can find: all figures of one side above all of the other's.
pub(super) fn lowest_p(base: usize, new: usize) -> f64 {
    (1..=new).fold(1.0, |p, i| p * i as f64 / (base + i) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn p_greater(base: &[f64], new: &[f64]) -> f64 {
        p_higher_and_lower(base, new).0
    }

    #[test]
    fn textbook_values() {
        assert!((p_greater(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]) - 0.05).abs() < 1e-12);
        assert!((p_greater(&[1.0, 3.0], &[2.0, 4.0]) - 2.0 / 6.0).abs() < 1e-12);
        // Ties: of the six ways to deal 1, 1, 2, 2, one gives {2, 2}.
        assert!((p_greater(&[1.0, 1.0], &[2.0, 2.0]) - 1.0 / 6.0).abs() < 1e-12);
        assert!((p_greater(&[5.0; 9], &[5.0; 9]) - 1.0).abs() < 1e-12);
        // scipy.stats.mannwhitneyu([19, 22, 16, 29, 24], [20, 11, 17, 12], alternative="greater")
        let (male, female) = ([19.0, 22.0, 16.0, 29.0, 24.0], [20.0, 11.0, 17.0, 12.0]);
        assert!((p_greater(&female, &male) - 0.055_555_555_6).abs() < 1e-9);
        assert!((lowest_p(4, 4) - 1.0 / 70.0).abs() < 1e-12);
        assert!((lowest_p(5, 5) - 1.0 / 252.0).abs() < 1e-12);
        assert!((lowest_p(9, 1) - 0.1).abs() < 1e-12);
        assert!(holds(39, 1) && !holds(40, 1) && holds(40, 6));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn probabilities_are_probabilities(
            base in prop::collection::vec(0u32..9, 0..30),
            new in prop::collection::vec(0u32..9, 0..30),
        ) {
            let of = |side: &[u32]| -> Vec<f64> { side.iter().map(|v| f64::from(*v)).collect() };
            let (up, down) = p_higher_and_lower(&of(&base), &of(&new));
            prop_assert!((down - p_greater(&of(&new), &of(&base))).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&up) && (0.0..=1.0).contains(&down));
            // What is as high or as low: the observed way is in both.
            prop_assert!(up + down >= 1.0 - 1e-9);
            prop_assert!(up >= lowest_p(base.len(), new.len()) - 1e-12 || base.len() + new.len() > EXACT);
        }

        #[test]
        fn the_exact_test_is_near_the_normal_one(
            base in prop::collection::hash_set(0u32..100_000, 10..=12),
            new in prop::collection::hash_set(100_000u32..200_000, 10..=12),
            mixed in 0usize..10,
        ) {
            let mut base: Vec<f64> = base.into_iter().map(f64::from).collect();
            let mut new: Vec<f64> = new.into_iter().map(f64::from).collect();
            base[..mixed].swap_with_slice(&mut new[..mixed]);
            let method = MannWhitneyUMethod::AsymptoticInclContinuityCorrection;
            let (_, normal) = mannwhitneyu(&new, &base, method, Alternative::Greater).unwrap();
            prop_assert!((p_greater(&base, &new) - normal).abs() < 0.02);
        }
    }
}
