//! Everything after the recording: it needs no root, no Xen and no eBPF.
//!
//! Data flows one way: scenario -> recording -> span -> breakdown -> comparison, check -> report.

pub mod baseline;
pub mod breakdown;
pub mod build;
pub mod check;
pub mod clock;
pub mod compare;
pub mod datapath;
pub mod document;
pub mod history;
pub mod iteration;
pub mod jitter;
pub mod paper;
pub mod recording;
pub mod replay;
pub mod report;
pub mod saved;
pub mod scenario;
pub mod span;
pub mod sums;
pub mod threshold;
pub mod toml_file;
pub mod units;

pub use breakdown::{Breakdown, StageFigures};
pub use build::{BreakdownBuilder, Names};
pub use document::Report;

#[cfg(test)]
mod tests;
