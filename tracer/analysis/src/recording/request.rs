//! What a domain was asked to trace.

use serde::{Deserialize, Serialize};

/// What the loader asks an agent to attach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Names of datapaths.
    pub datapaths: Vec<String>,
    /// Histograms in the kernel instead of a record a request.
    pub aggregate: bool,
    /// In aggregate mode: requests from this time up are emitted, too, in nanoseconds.
    pub outlier_ns: Option<u64>,
    /// Size of the ring buffer in bytes; a power of two from 4096.
    pub ring_bytes: u32,
    /// Requests in flight that can be followed; a power of two.
    pub in_flight: u32,
    /// Block devices to follow (kernel-internal `dev_t`); none: all.
    pub devices: Vec<u32>,
    /// Whether one of the devices is bio-based.
    pub bio_based: bool,
    /// TCP and UDP ports to follow; none: all.
    pub ports: Vec<u16>,
    /// Follow one in so many packets.
    pub sample: u32,
    /// Whether the kernel times the programs.
    pub measure_cost: bool,
}
