//! Times of one domain as times of another.

use tracer_common::record::MAX_POINTS;

use crate::clock::Pair;

/// Pairs closer than this say nothing of a clock's rate.
const CLOSEST_NS: u64 = 1_000_000;

/// A domain's `CLOCK_MONOTONIC` against the TSC: straight between each pair and the next, since the
/// kernel slews the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// At least two, growing on both clocks.
    pairs: Vec<Pair>,
}

impl Timeline {
    /// Through these pairs; of two that are close the narrower one is taken. `None` if fewer than two
    /// are left.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = Pair>) -> Option<Self> {
        let mut sorted: Vec<Pair> = pairs.into_iter().collect();
        // A pair during which the CPU was taken away says little; most are as narrow as they can be.
        let mut widths: Vec<u64> = sorted.iter().map(|pair| pair.half_width).collect();
        widths.sort_unstable();
        let middle = widths.get(widths.len() / 2).copied().unwrap_or(0);
        sorted.retain(|pair| pair.half_width <= middle.saturating_mul(2));
        sorted.sort_by_key(|pair| pair.monotonic_ns);
        let mut kept: Vec<Pair> = Vec::new();
        for pair in sorted {
            match kept.last_mut() {
                Some(last) if pair.monotonic_ns - last.monotonic_ns < CLOSEST_NS => {
                    if pair.half_width < last.half_width {
                        *last = pair;
                    }
                }
                // A TSC that goes back is none that can be relied on.
                Some(last) if pair.tsc <= last.tsc => return None,
                _ => kept.push(pair),
            }
        }
        let grows = kept.windows(2).all(|two| two[0].tsc < two[1].tsc);
        (kept.len() > 1 && grows).then_some(Self { pairs: kept })
    }

    /// The pairs on both sides of what `is_before` divides; before the first and after the last one
    /// their line goes on.
    fn around(&self, is_before: impl Fn(&Pair) -> bool) -> (Pair, Pair) {
        let after = self.pairs.partition_point(is_before);
        let second = after.clamp(1, self.pairs.len() - 1);
        (self.pairs[second - 1], self.pairs[second])
    }

    fn tsc(&self, ns: i128) -> i128 {
        let (a, b) = self.around(|pair| i128::from(pair.monotonic_ns) <= ns);
        let along = ns.saturating_sub(i128::from(a.monotonic_ns));
        i128::from(a.tsc).saturating_add(along.saturating_mul(ticks(a, b)) / length(a, b))
    }

    fn ns(&self, tsc: i128) -> i128 {
        let (a, b) = self.around(|pair| i128::from(pair.tsc) <= tsc);
        let along = tsc.saturating_sub(i128::from(a.tsc));
        i128::from(a.monotonic_ns).saturating_add(along.saturating_mul(length(a, b)) / ticks(a, b))
    }

    /// TSC ticks a nanosecond, over all.
    #[must_use]
    pub fn ticks_per_ns(&self) -> f64 {
        let (first, last) = (self.pairs[0], self.pairs[self.pairs.len() - 1]);
        ticks(first, last) as f64 / length(first, last) as f64
    }

    /// Bound of the error of a time on the TSC, in nanoseconds: the widest pair's half width; and as far
    /// as the pairs show that the clock does not run straight, that, too.
    #[must_use]
    pub fn error_ns(&self) -> f64 {
        let widest = self.pairs.iter().map(|pair| pair.half_width).max();
        let widest = widest.unwrap_or(0) as f64;
        let bends = self.pairs.windows(3).map(|three| {
            let (a, b, c) = (three[0], three[1], three[2]);
            let along = length(a, b);
            let straight = i128::from(a.tsc) + along.saturating_mul(ticks(a, c)) / length(a, c);
            (i128::from(b.tsc) - straight).unsigned_abs() as f64
        });
        // Pairs themselves are uncertain by their width. Where the clock steps between two of them, it
        // strays twice as far from their line as it does at the next pair.
        let bend = bends.fold(0.0, f64::max);
        (widest + 2.0 * (bend - 2.0 * widest).max(0.0)) / self.ticks_per_ns()
    }
}

fn ticks(a: Pair, b: Pair) -> i128 {
    i128::from(b.tsc) - i128::from(a.tsc)
}

fn length(a: Pair, b: Pair) -> i128 {
    i128::from(b.monotonic_ns) - i128::from(a.monotonic_ns)
}

/// How times of one domain become times on the run's timeline, which is another's clock.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mapping {
    /// Both clocks against the TSC; none: they are the same, or the TSC is not shared.
    clocks: Option<(Timeline, Timeline)>,
    /// To be added, in nanoseconds.
    offset_ns: i64,
}

impl Mapping {
    /// By way of the TSC.
    #[must_use]
    pub const fn new(from: Timeline, to: Timeline) -> Self {
        Self {
            clocks: Some((from, to)),
            offset_ns: 0,
        }
    }

    /// Only by a distance.
    #[must_use]
    pub const fn by_offset(offset_ns: i64) -> Self {
        Self {
            clocks: None,
            offset_ns,
        }
    }

    /// The same, moved.
    #[must_use]
    pub fn moved(mut self, by_ns: i64) -> Self {
        self.offset_ns = self.offset_ns.saturating_add(by_ns);
        self
    }

    /// A time on the run's timeline.
    #[must_use]
    pub fn map(&self, ns: u64) -> u64 {
        let there = match &self.clocks {
            Some((from, to)) => to.ns(from.tsc(i128::from(ns))),
            None => i128::from(ns),
        };
        u64::try_from(there.saturating_add(i128::from(self.offset_ns)).max(1)).unwrap_or(u64::MAX)
    }

    /// All stamps of a record; 0 stays: it means none.
    pub fn map_all(&self, at: &mut [u64; MAX_POINTS]) {
        for stamp in at.iter_mut().filter(|stamp| **stamp != 0) {
            *stamp = self.map(*stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(tsc: u64, monotonic_ns: u64, half_width: u64) -> Pair {
        Pair {
            tsc,
            monotonic_ns,
            half_width,
        }
    }

    /// Pairs of a clock that began `start` ns before the TSC and runs at `rate` ticks a ns.
    fn clock(start: u64, rate: f64, seconds: u64) -> Timeline {
        let pairs = (0..=seconds).map(|second| {
            let ns = second * 1_000_000_000;
            pair(1_000 + (ns as f64 * rate) as u64, start + ns, 30)
        });
        Timeline::new(pairs).unwrap()
    }

    #[test]
    fn a_time_is_found_on_the_other_clock() {
        let mapping = Mapping::new(clock(5_000_000, 3.0, 10), clock(700_000_000_000, 3.0, 10));
        assert_eq!(mapping.map(5_000_000), 700_000_000_000);
        assert_eq!(mapping.map(2_505_000_000), 702_500_000_000);
        // Before the first and after the last pair.
        assert_eq!(mapping.map(4_000_000), 699_999_000_000);
        assert_eq!(mapping.map(20_005_000_000), 720_000_000_000);
        assert_eq!(mapping.moved(-7).map(5_000_000), 699_999_999_993);
    }

    #[test]
    fn a_clock_that_bends_says_so() {
        let straight = Timeline::new([pair(0, 0, 30), pair(3_000_000_000, 1_000_000_000, 60)]);
        assert!((straight.unwrap().error_ns() - 20.0).abs() < 1e-6);
        let bent = Timeline::new([
            pair(0, 0, 30),
            pair(3_000_300_000, 1_000_000_000, 30),
            pair(6_000_000_000, 2_000_000_000, 30),
        ]);
        let error = bent.unwrap().error_ns();
        assert!((99_900.0..200_100.0).contains(&error), "{error}");
    }

    #[test]
    fn a_pair_that_was_interrupted_is_left_out() {
        let pairs = [(0, 30), (1, 31), (2, 9_000), (3, 29)];
        let pairs = pairs
            .map(|(second, width)| pair(second * 3_000_000_000, second * 1_000_000_000, width));
        let line = Timeline::new(pairs).unwrap();
        assert!(line.error_ns() < 11.0, "{}", line.error_ns());
    }

    #[test]
    fn a_tsc_that_goes_back_is_not_used() {
        assert_eq!(
            Timeline::new([pair(5_000, 0, 1), pair(4_000, 2_000_000, 1)]),
            None
        );
        assert_eq!(Timeline::new([pair(5_000, 0, 1)]), None);
    }

    proptest! {
        #[test]
        fn any_pairs_and_times_are_taken(
            pairs in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..8),
            ns in any::<u64>(),
        ) {
            let pairs = pairs.into_iter().map(|(tsc, ns, width)| pair(tsc, ns, width));
            if let Some(line) = Timeline::new(pairs) {
                prop_assert!(line.error_ns() >= 0.0);
                let _ = Mapping::new(line.clone(), clock(3, 2.0, 4)).map(ns);
                let _ = Mapping::new(clock(3, 2.0, 4), line).map(ns);
            }
        }

        #[test]
        fn there_and_back_is_the_same_time(ns in 0u64..1 << 45, rate in 0.5f64..5.0) {
            let (a, b) = (clock(123, rate, 20), clock(9_000_000, rate, 20));
            let there = Mapping::new(a.clone(), b.clone()).map(ns + 123);
            let back = Mapping::new(b, a).map(there);
            prop_assert!(back.abs_diff(ns + 123) <= 4, "{} {}", back, ns + 123);
        }
    }
}
