//! What requests say of how a guest's clock stands to its backend's.

use crate::span::across::Leeway;

/// With more requests than this outside of the error bound, the TSC is not what both domains share.
const MOST_VIOLATIONS: f64 = 0.01;

/// Bounds of what would have to be added to a guest's clock.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) asked: u64,
    pub(super) leeways: Vec<Leeway>,
    pub(super) least: i64,
    pub(super) most: i64,
}

impl Default for Survey {
    fn default() -> Self {
        Self {
            asked: 0,
            leeways: Vec::new(),
            least: i64::MIN,
            most: i64::MAX,
        }
    }
}

impl Survey {
    pub(super) fn add(&mut self, leeway: Leeway) {
        self.least = self.least.max(leeway.least);
        self.most = self.most.min(leeway.most);
        self.leeways.push(leeway);
    }

    /// Requests that are outside of an error bound.
    pub(super) fn outside(&self, error: i64) -> u64 {
        let outside = self.leeways.iter().filter(|leeway| !leeway.within(error));
        outside.count() as u64
    }

    /// Whether what was found bounds the clock on both sides.
    pub(super) const fn is_bounded(&self) -> bool {
        self.least != i64::MIN && self.most != i64::MAX
    }

    /// Whether what was found speaks for the mapping.
    pub(super) fn supports(&self, error: i64) -> bool {
        let found = self.leeways.len() as f64;
        found * 2.0 >= self.asked as f64 && self.outside(error) as f64 <= MOST_VIOLATIONS * found
    }
}
