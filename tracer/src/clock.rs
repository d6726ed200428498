//! This machine's clocks, read as pairs. The narrowest of many is kept (the method of NTP's and PTP's
//! "best of N" filters).

use nix::time::{ClockId, clock_gettime};
use tracer_analysis::clock::Pair;

/// Tries a pair is the best of.
const TRIES: usize = 64;
/// The same of one that is taken while a load runs.
const TRIES_BY_THE_WAY: usize = 12;
/// How often such a one is taken, at first.
const EVERY_NS: u64 = 100_000_000;
/// Pairs that a log keeps at most.
const KEPT: usize = 4096;

/// Samples the clocks; `None` where the machine has no time-stamp counter.
#[must_use]
pub fn sample() -> Option<Pair> {
    best_of(TRIES)
}

fn best_of(tries: usize) -> Option<Pair> {
    (0..tries)
        .filter_map(|_| one())
        .min_by_key(|pair| pair.half_width)
}

/// Pairs taken in passing, in bounded memory: a guest's clock may bend by a hundred microseconds a second,
/// since Xen calibrates it anew all the time.
#[derive(Debug)]
pub struct Log {
    pairs: Vec<Pair>,
    every_ns: u64,
    next_ns: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            pairs: Vec::with_capacity(KEPT),
            every_ns: EVERY_NS,
            next_ns: 0,
        }
    }
}

impl Log {
    /// Takes a pair if it is time for one.
    pub fn pass(&mut self) {
        let Some(now) = monotonic_ns().filter(|now| *now >= self.next_ns) else {
            return;
        };
        self.next_ns = now + self.every_ns;
        if self.pairs.len() == KEPT {
            let mut keep = false;
            self.pairs.retain(|_| {
                keep = !keep;
                keep
            });
            self.every_ns *= 2;
        }
        self.pairs.extend(best_of(TRIES_BY_THE_WAY));
    }

    /// The pairs since the last time.
    pub fn take(&mut self) -> Vec<Pair> {
        self.every_ns = EVERY_NS;
        self.pairs.drain(..).collect()
    }
}

fn one() -> Option<Pair> {
    let before = tsc()?;
    let monotonic_ns = monotonic_ns()?;
    let after = tsc()?;
    let width = after.checked_sub(before)?;
    Some(Pair {
        tsc: before + width / 2,
        monotonic_ns,
        half_width: width.div_ceil(2),
    })
}

/// `CLOCK_MONOTONIC` in nanoseconds, as the eBPF programs read it.
#[must_use]
pub fn monotonic_ns() -> Option<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    u64::try_from(now.tv_sec())
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(u64::try_from(now.tv_nsec()).ok()?)
}

#[cfg(target_arch = "x86_64")]
#[expect(clippy::unnecessary_wraps, reason = "other machines have none")]
fn tsc() -> Option<u64> {
    // SAFETY: every x86-64 CPU has RDTSC and RDTSCP's fence is not needed: the bracket holds for any
    // order of the reads that the clock's system call or vDSO (which fences) allows.
    Some(unsafe { core::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
fn tsc() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use tracer_analysis::clock::Timeline;

    use super::*;

    #[test]
    fn a_log_holds_a_long_run_in_bounded_memory() {
        let mut log = Log::default();
        for _ in 0..3 * KEPT {
            log.next_ns = 0;
            log.pass();
        }
        assert!((KEPT / 2..=KEPT).contains(&log.pairs.len()) && log.every_ns > EVERY_NS);
        assert!(
            log.pairs
                .windows(2)
                .all(|two| two[0].monotonic_ns <= two[1].monotonic_ns)
        );
        let count = log.pairs.len();
        assert_eq!(log.take().len(), count);
        log.pass();
        assert!(log.pairs.is_empty(), "it is not yet time");
    }

    #[test]
    fn pairs_advance_together() {
        let (Some(first), Some(last)) = (sample(), {
            std::thread::sleep(std::time::Duration::from_millis(20));
            sample()
        }) else {
            eprintln!("skipped: this machine has no time-stamp counter");
            return;
        };
        let line = Timeline::new([first, last]).unwrap();
        let rate = line.ticks_per_ns();
        assert!(rate > 0.1 && rate < 20.0, "{line:?}");
        assert!(line.error_ns() < 100_000.0, "{line:?}");
    }
}
