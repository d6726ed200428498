//! What this host is.

use std::{fs, path::Path};

use tracer_analysis::recording::host::HostFacts;

/// Reads the host under `root`.
#[must_use]
pub fn facts(root: &Path) -> HostFacts {
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
    HostFacts {
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

fn xen_role(hypervisor: &str, capabilities: &str) -> &'static str {
    match (hypervisor, capabilities) {
        ("xen", capabilities) if capabilities.contains("control_d") => "dom0",
        ("xen", _) => "guest",
        _ => "none",
    }
}
