//! A figure of both sides.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A figure of both runs. Its unit is in the name of the field that holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// A's; none: A has no such thing.
    pub a: Option<f64>,
    /// B's; none: B has no such thing.
    pub b: Option<f64>,
    /// B's less A's, where both have it.
    pub difference: Option<f64>,
    /// B's over A's, where both have it and A's is not zero.
    pub ratio: Option<f64>,
}

impl Compared {
    /// Holds two figures against each other. What is not finite counts as not there: only a damaged
    /// recording has it, and JSON cannot say it.
    #[must_use]
    pub fn new(a: Option<f64>, b: Option<f64>) -> Self {
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let (a, b) = (finite(a), finite(b));
        let both = a.zip(b);
        Self {
            a,
            b,
            difference: finite(both.map(|(a, b)| b - a)),
            ratio: finite(both.filter(|(a, _)| *a != 0.0).map(|(a, b)| b / a)),
        }
    }

    /// Two figures of different things: they have no difference and no ratio.
    #[must_use]
    pub fn apart(a: Option<f64>, b: Option<f64>) -> Self {
        Self {
            difference: None,
            ratio: None,
            ..Self::new(a, b)
        }
    }

    /// Two figures that are there.
    #[must_use]
    pub fn both(a: f64, b: f64) -> Self {
        Self::new(Some(a), Some(b))
    }

    /// The difference, zero where there is none to be had.
    #[must_use]
    pub fn step(&self) -> f64 {
        self.difference.unwrap_or(0.0)
    }
}
