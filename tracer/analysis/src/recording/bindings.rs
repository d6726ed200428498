//! What was attached in a domain, and what could not be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A trace point that will be attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// What it does.
    pub role: String,
    /// The point that it stamps.
    pub point: Option<String>,
    /// The eBPF program.
    pub program: String,
    /// `tp_btf`, `fentry`, `fexit`, `kprobe` or `kretprobe`.
    pub binding: String,
    /// The tracepoint or function; of a copy that the compiler made of it (`NAME.constprop.0`) that one's name.
    pub symbol: String,
    /// The module that has the function; none: the kernel itself.
    #[serde(default)]
    pub module: Option<String>,
}

/// A trace point that cannot be attached on this kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unavailable {
    /// What it would do.
    pub role: String,
    /// The point that it would stamp.
    pub point: Option<String>,
    /// Whether the datapath cannot be traced without it.
    pub required: bool,
    /// Why, for each binding. A reason that was told before is referred to (`as for ...`).
    pub why: Vec<String>,
}

/// What was attached, and what could not be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Bindings {
    /// Attached.
    pub planned: Vec<Planned>,
    /// Not to be had on this kernel.
    pub unavailable: Vec<Unavailable>,
    /// Time that loading and attaching took, in nanoseconds.
    pub attach_ns: u64,
}
