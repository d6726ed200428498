//! What was taken from a span's stages: times in which the request's own work stood still because a CPU
//! was given to somebody else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracer_common::point::Point;

/// By stage: the place of the point at which it begins, from 0, and nanoseconds.
type ByStage = Vec<(usize, u64)>;

/// Times taken from stages, by who took them.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Taken {
    /// From which stages the hypervisor gave time to others: the place of the point at which the stage
    /// begins, from 0, and nanoseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stolen: ByStage,
    /// From which stages Dom0's scheduler took blkback's thread: the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preempted: ByStage,
}

impl Taken {
    /// What was taken from one stage.
    #[must_use]
    pub fn from_stage(&self, stage: usize) -> u64 {
        let all = self.stolen.iter().chain(&self.preempted);
        let of_it = all.filter(|taken| taken.0 == stage);
        of_it.map(|taken| taken.1).sum()
    }

    /// Stages of their own: those of which anything was taken at all.
    pub fn asides(&self) -> impl Iterator<Item = (Point, Point, u64)> + use<> {
        let sum = |taken: &ByStage| taken.iter().map(|taken| taken.1).sum::<u64>();
        [
            (Point::VcpuOff, Point::VcpuOn, sum(&self.stolen)),
            (
                Point::BlkbackPreempted,
                Point::BlkbackResumed,
                sum(&self.preempted),
            ),
        ]
        .into_iter()
        .filter(|(_, _, time)| *time != 0)
    }
}

/// Whether stages that begin here are on no request's way at a place of their own.
#[must_use]
pub fn is_aside(from: &str) -> bool {
    [Point::VcpuOff, Point::BlkbackPreempted]
        .iter()
        .any(|point| point.name() == from)
}
