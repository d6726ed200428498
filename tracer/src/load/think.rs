//! Random waits between a load's operations, so that it does not lock to what it sets off.
//!
//! A load that begins each operation at the end of the one before finds a backend still awake each time, or asleep
//! each time: a run stays with one of these ways, the next run with the other. An exponentially distributed wait has
//! no memory: while it lasts, the next operation is as likely at one moment as at any other, and so meets each state
//! as often as it is there then.

use rand::{RngExt as _, SeedableRng as _, rngs::ChaCha8Rng};

use super::{Stop, Think, monotonic_ns, place};

/// No wait is longer than so many means; one of 160 000 would be.
const LONGEST_MEANS: f64 = 12.0;

/// The waits of one load, on the thread that made it.
pub(crate) struct Waits {
    mean_ns: f64,
    random: ChaCha8Rng,
}

impl Waits {
    pub(crate) fn new(think: Think) -> Self {
        place::sleep_exactly();
        Self {
            mean_ns: think.mean_ns as f64,
            random: ChaCha8Rng::seed_from_u64(think.sequence),
        }
    }

    /// The next wait, in nanoseconds.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // not negative, and 12 hours at most
    pub(super) fn draw_ns(&mut self) -> u64 {
        let uniform: f64 = self.random.random();
        // 1 - u is never 0, unlike u.
        let means = -(1.0 - uniform).ln();
        (self.mean_ns * means.min(LONGEST_MEANS)) as u64
    }

    /// Waits, but not beyond `end_ns` or until the load is asked to stop. Returns the time (`CLOCK_MONOTONIC`).
    pub(crate) fn wait(&mut self, stop: &Stop, end_ns: u64) -> u64 {
        let until = monotonic_ns().saturating_add(self.draw_ns());
        stop.sleep_until(Some(until.min(end_ns)));
        monotonic_ns()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(sequence: u64) -> Waits {
        Waits::new(Think {
            mean_ns: 1_000_000,
            sequence,
        })
    }

    fn drawn(sequence: u64, count: usize) -> Vec<u64> {
        let mut waits = waits(sequence);
        (0..count).map(|_| waits.draw_ns()).collect()
    }

    #[test]
    fn waits_are_exponential_with_the_mean_asked_for() {
        let mut waits = drawn(1, 20_000);
        waits.sort_unstable();
        let mean = waits.iter().sum::<u64>() as f64 / 20_000.0;
        // Standard error: 0.7%.
        assert!((mean / 1e6 - 1.0).abs() < 0.03, "{mean}");
        let median = waits[10_000] as f64;
        assert!((median / (1e6 * 2f64.ln()) - 1.0).abs() < 0.04, "{median}");
        assert!(waits[19_999] <= 12_000_000);
    }

    #[test]
    fn a_sequence_repeats_and_another_is_another() {
        assert_eq!(drawn(3, 50), drawn(3, 50));
        assert_ne!(drawn(3, 50), drawn(4, 50));
    }

    #[test]
    fn a_wait_ends_where_the_load_does() {
        let hour = Think {
            mean_ns: 3_600_000_000_000,
            sequence: 0,
        };
        let start = monotonic_ns();
        let end = start + 20_000_000;
        let after = Waits::new(hour).wait(&Stop::default(), end);
        assert!((end..end + 10_000_000_000).contains(&after));
        let stop = Stop::default();
        stop.request();
        assert!(Waits::new(hour).wait(&stop, u64::MAX) < after + 10_000_000_000);
    }
}
