//! What the kernel side's counters grew by within the measured iterations. They are read back from a
//! recording, which may be damaged: no number may overflow.

use std::collections::BTreeMap;

use crate::recording::{
    directory::Window,
    snapshot::{GroupCount, StageCount},
};

/// Adds the growth of a counter.
pub(super) fn grow(sum: &mut u64, after: u64, before: u64) {
    *sum = sum.saturating_add(after.saturating_sub(before));
}

fn grow_wide(sum: &mut u128, after: u128, before: u128) {
    *sum = sum.saturating_add(after.saturating_sub(before));
}

/// Adds the growth of each slot of a histogram; slots that did not grow are left out.
pub(super) fn grow_histogram(
    sum: &mut BTreeMap<u16, u64>,
    after: &[(u16, u64)],
    before: &[(u16, u64)],
) {
    let before: BTreeMap<u16, u64> = before.iter().copied().collect();
    for (slot, count) in after {
        let before = before.get(slot).copied().unwrap_or(0);
        if *count > before {
            grow(sum.entry(*slot).or_default(), *count, before);
        }
    }
}

/// Aggregate mode's histograms, by device and operation. A longest time cannot be taken back to a
/// window: it is the longest since the programs were attached.
pub(super) fn kernel_groups(windows: &[&Window]) -> BTreeMap<(u32, u8), GroupCount> {
    let mut sums: BTreeMap<(u32, u8), GroupCount> = BTreeMap::new();
    for window in windows {
        for after in &window.after.groups {
            let key = (after.device, after.operation);
            let none = GroupCount::default();
            let before = window
                .before
                .groups
                .iter()
                .find(|before| (before.device, before.operation) == key)
                .unwrap_or(&none);
            add_group(sums.entry(key).or_default(), after, before);
        }
    }
    sums.retain(|_, group| group.count != 0);
    sums
}

fn add_group(sum: &mut GroupCount, after: &GroupCount, before: &GroupCount) {
    (sum.device, sum.operation) = (after.device, after.operation);
    grow(&mut sum.count, after.count, before.count);
    grow(&mut sum.total_sum, after.total_sum, before.total_sum);
    grow_wide(
        &mut sum.total_square,
        after.total_square,
        before.total_square,
    );
    sum.total_max = sum.total_max.max(after.total_max);
    add_histogram(&mut sum.total_hist, &after.total_hist, &before.total_hist);
    for after in &after.stages {
        let none = StageCount::default();
        let before = before
            .stages
            .iter()
            .find(|before| before.pair == after.pair)
            .unwrap_or(&none);
        let position = sum.stages.iter().position(|stage| stage.pair == after.pair);
        let index = position.unwrap_or_else(|| {
            sum.stages.push(StageCount {
                pair: after.pair,
                ..StageCount::default()
            });
            sum.stages.len() - 1
        });
        let stage = &mut sum.stages[index];
        grow(&mut stage.count, after.count, before.count);
        grow(&mut stage.sum, after.sum, before.sum);
        grow_wide(&mut stage.square, after.square, before.square);
        grow_wide(&mut stage.product, after.product, before.product);
        stage.max = stage.max.max(after.max);
        add_histogram(&mut stage.hist, &after.hist, &before.hist);
    }
}

fn add_histogram(sum: &mut Vec<(u16, u64)>, after: &[(u16, u64)], before: &[(u16, u64)]) {
    let mut all = sum.iter().copied().collect();
    grow_histogram(&mut all, after, before);
    *sum = all.into_iter().collect();
}
