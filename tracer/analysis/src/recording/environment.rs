//! What a scenario wants of the machine, and what is so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a wish stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As wanted.
    Ok,
    /// Otherwise.
    Differs,
    /// The machine does not say.
    Unknown,
    /// Nothing is wanted; said for the record.
    Note,
}

/// One property of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What it is about.
    pub what: String,
    /// What the scenario wants.
    pub wanted: Option<String>,
    /// What is so.
    pub actual: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What to do.
    pub hint: Option<String>,
}
