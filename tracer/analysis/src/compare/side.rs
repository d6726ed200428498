//! Which of the two.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of the two runs. A is the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The reference.
    A,
    /// What is held against it.
    B,
}

impl Side {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}
