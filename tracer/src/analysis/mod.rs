//! Spans in, breakdowns out: per stage, per component, per iteration; and in words, where the
//! jitter comes from.

pub mod breakdown;
pub mod build;
pub mod check;
pub mod compare;
pub mod document;
pub mod iteration;
pub mod jitter;
pub mod paper;
pub mod sums;
pub mod threshold;

pub use breakdown::{Breakdown, StageFigures};
pub use build::{BreakdownBuilder, Names};
pub use document::Report;

#[cfg(test)]
mod tests;
