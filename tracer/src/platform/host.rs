//! Facts about the host that a report must carry to be understood later.

use std::{fs, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

impl HostFacts {
    /// Reads the host under `root`.
    #[must_use]
    pub fn from_root(root: &Path) -> Self {
        let read = |path: &str| {
            fs::read_to_string(root.join(path))
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let cpuinfo = read("proc/cpuinfo");
        let processors = cpuinfo
            .lines()
            .filter(|line| line.starts_with("processor"))
            .count();
        Self {
            kernel: read("proc/sys/kernel/osrelease"),
            cpu_model: cpuinfo
                .lines()
                .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
                .map(|(_, model)| model.trim().to_owned())
                .unwrap_or_default(),
            cpus: u32::try_from(processors).unwrap_or(u32::MAX),
            clocksource: read("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            xen_role: xen_role(&read("sys/hypervisor/type"), &read("proc/xen/capabilities")).into(),
            command_line: read("proc/cmdline"),
        }
    }
}

fn xen_role(hypervisor: &str, capabilities: &str) -> &'static str {
    match (hypervisor, capabilities) {
        ("xen", capabilities) if capabilities.contains("control_d") => "dom0",
        ("xen", _) => "guest",
        _ => "none",
    }
}
