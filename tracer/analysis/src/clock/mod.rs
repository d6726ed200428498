//! One timeline for all domains: pairs of the TSC and `CLOCK_MONOTONIC`, with an error bound.
//!
//! A pair is bracketed: TSC, monotonic, TSC. The clock was read somewhere between the two TSC
//! values, so half their distance bounds the error.

mod timeline;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use timeline::{Mapping, Timeline};

/// A moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pair {
    /// Time-stamp counter, in ticks: the middle of the bracket.
    pub tsc: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub monotonic_ns: u64,
    /// Half the bracket, in ticks: the moment's error bound.
    pub half_width: u64,
}
