//! What is counted, by its own name.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_common::counter::Counter;

#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);

/// Adds one to a counter.
#[inline(always)]
pub fn count(counter: Counter) {
    count_by(counter, 1);
}

/// Adds to a counter.
#[inline(always)]
pub fn count_by(counter: Counter, by: u64) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: a per-CPU value; an interrupt between load and store can lose one count.
        unsafe { *value += by };
    }
}
