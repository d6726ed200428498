//! Medians, ranges, and in which order things are measured.
use std::hash::{BuildHasher as _, RandomState};

/// The median; the mean of the middle two for an even count, `None` for no values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(middle - 1)?, upper))
}

/// The arithmetic mean, `None` for no values.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The coefficient of variation in percent: the standard deviation (of a sample) as a share of the mean. `None` for
/// fewer than two values, or a mean of 0.
pub(super) fn variation_percent(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|mean| *mean != 0.0)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let degrees = values.len().checked_sub(1).filter(|count| *count > 0)?;
    Some((squares / degrees as f64).sqrt() / mean * 100.0)
}

/// The smallest and the largest value.
pub(super) fn range(values: &[f64]) -> Option<(f64, f64)> {
    let min = values.iter().copied().min_by(f64::total_cmp)?;
    let max = values.iter().copied().max_by(f64::total_cmp)?;
    Some((min, max))
}

/// The median, the smallest and the largest value.
pub(super) fn spread(values: &[f64]) -> Option<[f64; 3]> {
    let (min, max) = range(values)?;
    Some([median(values)?, min, max])
}

/// The items beginning with another one each round, every second round backwards: whatever drifts while they
/// are measured does not always meet the same one first, nor the same one after another.
pub(super) fn rotated<T: Clone>(items: &[T], round: u32) -> Vec<T> {
    let mut items = items.to_vec();
    let first = round as usize % items.len().max(1);
    items.rotate_left(first);
    if round % 2 == 1 {
        items.reverse();
    }
    items
}

/// The items in random order.
pub(super) fn shuffled<T: Clone>(items: &[T]) -> Vec<T> {
    // Keyed hashes of the positions: each `RandomState` has keys of its own.
    let state = RandomState::new();
    let mut keyed: Vec<(u64, T)> = (items.iter().cloned().enumerate())
        .map(|(position, item)| (state.hash_one(position), item))
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_range_of_few_values() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(range(&[3.0, 1.0, 2.0]), Some((1.0, 3.0)));
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some([2.0, 1.0, 3.0]));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn variation_is_a_share_of_the_mean() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[1.0, 3.0]), Some(2.0));
        let variation = variation_percent(&[1.0, 2.0, 3.0]).unwrap();
        assert!((variation - 50.0).abs() < 1e-9, "{variation}");
        for none in [&[][..], &[5.0], &[0.0, 0.0]] {
            assert_eq!(variation_percent(none), None);
        }
    }

    #[test]
    fn each_round_begins_with_another_item_and_every_second_one_goes_backwards() {
        let rounds = [0, 1, 2, 3].map(|round| rotated(&[1, 2, 3], round));
        assert_eq!(rounds, [[1, 2, 3], [1, 3, 2], [3, 1, 2], [3, 2, 1]]);
        assert!(rotated::<u8>(&[], 1).is_empty());
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items = shuffled(&[1, 2, 3, 4, 5]);
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4, 5]);
    }
}
