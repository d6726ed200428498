//! Facts about a domain that a report must carry to be understood later, and its agent's first words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Pair;

/// What the host is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostFacts {
    /// Kernel release.
    pub kernel: String,
    /// CPU model.
    pub cpu_model: String,
    /// CPUs online.
    pub cpus: u32,
    /// The clock source that the kernel uses.
    pub clocksource: String,
    /// `none`, `dom0` or `guest`.
    pub xen_role: String,
    /// Kernel command line.
    pub command_line: String,
}

/// Who an agent is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub protocol: u32,
    /// The agent's own version.
    pub version: String,
    /// Where it runs.
    pub host: HostFacts,
    /// Its clock.
    pub clock: Option<Pair>,
}
