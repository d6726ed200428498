//! What the kernel side keeps in aggregate mode: sums, products and histograms per stage.

use crate::{
    hist::SLOTS,
    point::{Kind, Point},
    record::MAX_POINTS,
    settings::MAX_DEVICES,
};

/// Groups: a device's reads, a device's writes, and so on.
pub const GROUPS: u32 = MAX_DEVICES as u32 * 2;
/// Stages of a group.
pub const MAX_STAGES: usize = PAIRS.len();

/// An interval between two points of a disk record, by index, and the points that may lie between.
#[derive(Clone, Copy, Debug)]
pub struct Pair(pub usize, pub usize);

impl Pair {
    const fn new(from: Point, to: Point) -> Self {
        Self(Kind::Disk.index_of(from), Kind::Disk.index_of(to))
    }

    /// Whether the request passed no point in between, so that the interval is a stage.
    #[inline(always)]
    #[must_use]
    pub fn is_neighbour(&self, at: &[u64; MAX_POINTS]) -> bool {
        let mut index = self.0 + 1;
        while index < self.1 {
            if at[index] != 0 {
                return false;
            }
            index += 1;
        }
        true
    }
}

/// The stages that aggregate mode knows: the points that it attaches are queue, insert, requeue,
/// issue, the interrupt's and complete.
pub const PAIRS: [Pair; 13] = [
    Pair::new(Point::BlkQueue, Point::BlkInsert),
    Pair::new(Point::BlkQueue, Point::BlkIssue),
    Pair::new(Point::BlkQueue, Point::BlkComplete),
    Pair::new(Point::BlkQueue, Point::BlkRequeue),
    Pair::new(Point::BlkInsert, Point::BlkRequeue),
    Pair::new(Point::BlkInsert, Point::BlkIssue),
    Pair::new(Point::BlkRequeue, Point::BlkIssue),
    Pair::new(Point::BlkIssue, Point::IrqEntry),
    Pair::new(Point::BlkIssue, Point::SoftirqEntry),
    Pair::new(Point::BlkIssue, Point::BlkComplete),
    Pair::new(Point::IrqEntry, Point::SoftirqEntry),
    Pair::new(Point::IrqEntry, Point::BlkComplete),
    Pair::new(Point::SoftirqEntry, Point::BlkComplete),
];

/// An unsigned number of 128 bits, as the BPF machine can add to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wide {
    /// The lower half.
    pub low: u64,
    /// The upper half.
    pub high: u64,
}

impl Wide {
    /// Adds `a * b`; each is taken as at most 2^32 - 1 (4.3 s in nanoseconds).
    #[inline(always)]
    pub fn add(&mut self, a: u64, b: u64) {
        let limit = u64::from(u32::MAX);
        let product = (if a < limit { a } else { limit }) * (if b < limit { b } else { limit });
        self.low = self.low.wrapping_add(product);
        self.high += u64::from(self.low < product);
    }

    /// The value.
    #[must_use]
    pub const fn value(self) -> u128 {
        ((self.high as u128) << 64) | self.low as u128
    }
}

/// One stage of a group. Times in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Requests that had it.
    pub count: u64,
    /// Sum of times.
    pub sum: u64,
    /// Longest time.
    pub max: u64,
    /// Sum of squares.
    pub square: Wide,
    /// Sum of the products with the request's total.
    pub product: Wide,
    /// Histogram of times.
    pub hist: [u32; SLOTS],
}

/// The requests of one device and operation.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Requests.
    pub count: u64,
    /// Sum of totals.
    pub total_sum: u64,
    /// Longest total.
    pub total_max: u64,
    /// Sum of the squares of totals.
    pub total_square: Wide,
    /// Histogram of totals.
    pub total_hist: [u32; SLOTS],
    /// By index in [`PAIRS`].
    pub stages: [Stage; MAX_STAGES],
}

// The limit of a per-CPU map's value (PCPU_MIN_UNIT_SIZE).
const _: () = assert!(core::mem::size_of::<Group>() <= 32 << 10);

// SAFETY: repr(C), only integers, any bit pattern is valid.
#[cfg(feature = "aya")]
unsafe impl aya::Pod for Group {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn wide_sums_products(pairs in prop::collection::vec((0u64..1 << 32, 0u64..1 << 32), 0..200)) {
            let mut wide = Wide::default();
            let mut expected = 0u128;
            for (a, b) in pairs {
                wide.add(a, b);
                expected += u128::from(a) * u128::from(b);
            }
            prop_assert_eq!(wide.value(), expected);
        }
    }
}
