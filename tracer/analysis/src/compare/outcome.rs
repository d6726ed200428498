//! What may be said of a difference.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What two runs and their iterations say of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Over all requests they hardly differ: means by less than 1%, variances by less than 5%.
    Same,
    /// One side's are all above the other's, by more than either side's own spread.
    Apart,
    /// One side's are all above the other's, but either side drifts by as much itself.
    Drift,
    /// They overlap.
    Overlap,
    /// They do not overlap, but are so few that chance does that.
    TooFew,
    /// They are not of the same way: nothing is compared.
    OtherWay,
}

impl Outcome {
    /// Whether a difference may be put down to a stretch: not if it is noise for all that is known.
    pub(super) const fn has_cause(self) -> bool {
        matches!(self, Self::Apart | Self::TooFew)
    }
}

/// What may be said of a difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Of the iterations' means.
    pub mean: Outcome,
    /// Of the iterations' variances.
    pub variance: Outcome,
    /// What contributes most to a difference of means that is `apart`; else nothing is blamed.
    pub blamed: Option<Blamed>,
}

/// A stretch that is to blame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Blamed {
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// B's mean less A's, over all requests, in nanoseconds.
    pub added_ns: f64,
    /// Its share of the difference of the way's means; above 1 where other stretches go the other way.
    pub share: f64,
}
