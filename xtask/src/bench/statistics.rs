//! Medians, ranges and random order.
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

/// The smallest and the largest value.
pub(super) fn range(values: &[f64]) -> Option<(f64, f64)> {
    let min = values.iter().copied().min_by(f64::total_cmp)?;
    let max = values.iter().copied().max_by(f64::total_cmp)?;
    Some((min, max))
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
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items = shuffled(&[1, 2, 3, 4, 5]);
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4, 5]);
    }
}
