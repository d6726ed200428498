//! What a load did.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The distribution of a load's latencies. Times in nanoseconds.
///
/// Count, mean, variance and maximum are exact; percentiles are within 0.1%.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Operations measured.
    pub count: u64,
    /// Mean, in nanoseconds.
    pub mean_ns: f64,
    /// Population variance, in nanoseconds squared.
    pub variance_ns2: f64,
    /// Median, in nanoseconds.
    pub p50: u64,
    /// 90th percentile, in nanoseconds.
    pub p90: u64,
    /// 99th percentile, in nanoseconds.
    pub p99: u64,
    /// 99.9th percentile, in nanoseconds.
    pub p999: u64,
    /// Longest, in nanoseconds.
    pub max: u64,
}

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadResult {
    /// Length of the measured part in nanoseconds: `end_monotonic_ns - start_monotonic_ns`.
    pub duration_ns: u64,
    /// Operations done: calls of read or write, messages, transactions, packets, loops.
    pub operations: u64,
    /// Payload moved, in bytes; for `tcp-stream` what the receiver counted.
    pub bytes: u64,
    /// Latency of the operations; absent where a single operation has none (servers, burners).
    pub latency: Option<Summary>,
    /// What only this kind of load knows: lost packets, retransmits, rates, captured output.
    #[serde(default)]
    pub extra: BTreeMap<String, serde_json::Value>,
    /// `CLOCK_MONOTONIC` at the start of the measured part, in nanoseconds: the clock of the
    /// traces of the same domain.
    pub start_monotonic_ns: u64,
    /// `CLOCK_MONOTONIC` at the end of the measured part, in nanoseconds.
    pub end_monotonic_ns: u64,
    /// Thread ids (as the initial pid namespace of the domain sees them) that did the work.
    pub tids: Vec<u32>,
}

impl LoadResult {
    /// Operations a second over the measured part; 0 if it had no length.
    #[must_use]
    pub fn operations_per_second(&self) -> f64 {
        per_second(self.operations, self.duration_ns)
    }

    /// Bytes a second over the measured part; 0 if it had no length.
    #[must_use]
    pub fn bytes_per_second(&self) -> f64 {
        per_second(self.bytes, self.duration_ns)
    }
}

/// A count over a length in nanoseconds, as a rate a second.
#[allow(clippy::cast_precision_loss)] // a rate of 15 digits is exact enough
pub fn per_second(count: u64, duration_ns: u64) -> f64 {
    if duration_ns == 0 {
        0.0
    } else {
        count as f64 * 1e9 / duration_ns as f64
    }
}
