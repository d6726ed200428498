//! Time that blkback's thread waited for a CPU amid its work on a request: another task had taken it.
//!
//! The kernel keeps for each task how long it was to run and did not (`sched_info.run_delay` in
//! include/linux/sched.h). Nothing tells the thread that it was stopped, so the programs that stamp its
//! requests look whether that grew since the last look.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tracer_common::{
    point::{Kind, Point},
    record::Record,
};

use crate::core::{cpu, emit, member, settings::setting};

/// By the number of a thread of blkback's: its `run_delay` at the last look.
#[map]
static DELAYS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(1024, 0);

/// Shorter times stay where they are: a change of tasks takes some microseconds.
const LEAST_NS: u64 = 50_000;

const PREEMPTED: usize = Kind::Preempt.index_of(Point::BlkbackPreempted);
const RESUMED: usize = Kind::Preempt.index_of(Point::BlkbackResumed);

#[inline(always)]
fn run_delay() -> Option<u64> {
    let run_delay = member::TaskRunDelay.get()?;
    run_delay.read_unknown(cpu::task())
}

/// The current thread, one of blkback's, takes a request.
#[inline(always)]
pub fn begin() {
    if let Some(delay) = run_delay() {
        let tid = cpu::thread();
        // A full map forgets the thread that has been idle longest.
        let _ = DELAYS.insert(&tid, &delay, 0);
    }
}

/// Looks whether the current thread, if it is one of blkback's, has just come back; it has run since, up
/// to `now`.
#[inline(always)]
pub fn look(now: u64) {
    if setting!(serves) == 0 {
        return;
    }
    let tid = cpu::thread();
    let Some(last) = DELAYS.get_ptr_mut(&tid) else {
        return;
    };
    let Some(delay) = run_delay() else { return };
    // SAFETY: the map outlives the program, and only the thread itself writes its entry.
    let before = unsafe { core::mem::replace(&mut *last, delay) };
    let grown = delay.wrapping_sub(before);
    if grown < LEAST_NS || grown > now {
        return;
    }
    let mut record = Record::EMPTY;
    record.kind = Kind::Preempt as u8;
    record.tid = tid;
    record.at[PREEMPTED] = now - grown;
    record.at[RESUMED] = now;
    emit::preempt(&record);
}
