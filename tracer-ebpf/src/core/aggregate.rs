//! Aggregate mode: stage histograms, sums and products per CPU, no records.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_common::{
    aggregate::{Group, MAX_STAGES, PAIRS},
    counter::Counter,
    point::{Kind, Point},
    record::{MAX_POINTS, Record},
};

use crate::core::{counters::count, followed::device_index, kernel::tally};

#[map]
static GROUPS: PerCpuArray<Group> =
    PerCpuArray::with_max_entries(tracer_common::aggregate::GROUPS, 0);

const COMPLETE: usize = Kind::Disk.index_of(Point::BlkComplete);

/// From the first point to completion, in nanoseconds.
#[inline(always)]
pub fn total_ns(record: &Record) -> u64 {
    record.at[COMPLETE].wrapping_sub(record.at[0])
}

/// Counts one stage, if the request had it. The stage is a constant, so that every index is one and
/// the compiler needs no bounds check, which a BPF program could not fail.
#[inline(always)]
fn add_stage<const STAGE: usize>(group: &mut Group, at: &[u64; MAX_POINTS], total: u64) {
    const { assert!(MAX_STAGES == 13, "one call of add_stage for each") };
    let pair = const { PAIRS[STAGE] };
    let (from, to) = (at[pair.0], at[pair.1]);
    if from == 0 || to == 0 || !pair.is_neighbour(at) {
        return;
    }
    let time = to.wrapping_sub(from);
    let stage = &mut group.stages[STAGE];
    stage.count += 1;
    stage.sum += time;
    stage.square.add(time, time);
    stage.product.add(time, total);
    stage.max = stage.max.max(time);
    tally(&mut stage.hist, time);
}

/// Counts a disk request. False if it is of a sort that has no histogram: then it is a record.
#[inline(always)]
pub fn add(record: &Record) -> bool {
    if record.op > 1 {
        return false;
    }
    let Some(device) = device_index(record.dev) else {
        return false;
    };
    let Some(group) = GROUPS.get_ptr_mut(device * 2 + u32::from(record.op)) else {
        return false;
    };
    // SAFETY: a per-CPU value; an interrupt in between can lose one request's sums.
    let group = unsafe { &mut *group };
    let total = total_ns(record);
    group.count += 1;
    group.total_sum += total;
    group.total_square.add(total, total);
    group.total_max = group.total_max.max(total);
    tally(&mut group.total_hist, total);
    let at = &record.at;
    add_stage::<0>(group, at, total);
    add_stage::<1>(group, at, total);
    add_stage::<2>(group, at, total);
    add_stage::<3>(group, at, total);
    add_stage::<4>(group, at, total);
    add_stage::<5>(group, at, total);
    add_stage::<6>(group, at, total);
    add_stage::<7>(group, at, total);
    add_stage::<8>(group, at, total);
    add_stage::<9>(group, at, total);
    add_stage::<10>(group, at, total);
    add_stage::<11>(group, at, total);
    add_stage::<12>(group, at, total);
    count(Counter::Aggregated);
    true
}
