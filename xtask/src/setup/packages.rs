//! Programs of the distribution that tests and benchmarks use.
use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{lock, shell, workspace};

/// A program and the packages that may hold it.
struct Tool {
    program: &'static str,
    /// Shows that it really works: a wrapper may be there alone.
    probe: Option<&'static str>,
    /// The first that the distribution has is installed.
    packages: &'static [&'static str],
}

/// `{kernel}` stands for the running kernel's release: Ubuntu's bpftool is built per kernel.
const TOOLS: [Tool; 8] = [
    Tool {
        program: "cc",
        probe: None,
        packages: &["gcc libc6-dev"],
    },
    Tool {
        program: "fio",
        probe: None,
        packages: &["fio"],
    },
    Tool {
        program: "blktrace",
        probe: None,
        packages: &["blktrace"],
    },
    Tool {
        program: "btt",
        probe: None,
        packages: &["blktrace"],
    },
    Tool {
        program: "bpftrace",
        probe: None,
        packages: &["bpftrace"],
    },
    Tool {
        program: "bpftool",
        probe: Some("version"),
        packages: &["bpftool", "linux-tools-common linux-tools-{kernel}"],
    },
    Tool {
        program: "ip",
        probe: None,
        packages: &["iproute2"],
    },
    Tool {
        program: "losetup",
        probe: None,
        packages: &["mount"],
    },
];

/// What the lab needs besides.
const LAB_TOOLS: [Tool; 11] = [
    Tool {
        program: "ping",
        probe: None,
        packages: &["iputils-ping"],
    },
    Tool {
        program: "iperf3",
        probe: None,
        packages: &["iperf3"],
    },
    Tool {
        program: "qemu-system-x86_64",
        probe: None,
        packages: &["qemu-system-x86"],
    },
    Tool {
        program: "mmdebstrap",
        probe: None,
        packages: &["mmdebstrap debian-archive-keyring"],
    },
    Tool {
        program: "cpio",
        probe: None,
        packages: &["cpio"],
    },
    Tool {
        program: "xz",
        probe: None,
        packages: &["xz-utils"],
    },
    Tool {
        program: "mke2fs",
        probe: None,
        packages: &["e2fsprogs"],
    },
    Tool {
        program: "depmod",
        probe: None,
        packages: &["kmod"],
    },
    Tool {
        program: "unshare",
        probe: None,
        packages: &["util-linux"],
    },
    Tool {
        program: "dpkg-deb",
        probe: None,
        packages: &["dpkg"],
    },
    Tool {
        program: "ip",
        probe: None,
        packages: &["iproute2"],
    },
];

impl Tool {
    fn works(&self) -> bool {
        let Some(path) = shell::find(self.program) else {
            return false;
        };
        self.probe
            .is_none_or(|probe| shell::succeeds(shell::command(path).arg(probe)))
    }
}

/// The programs that are missing.
pub(crate) fn missing() -> Vec<&'static str> {
    TOOLS
        .iter()
        .chain(&LAB_TOOLS)
        .filter(|tool| !tool.works())
        .map(|tool| tool.program)
        .collect()
}

/// Installs the missing programs of build and tests with apt.
pub(crate) fn install() -> Result<()> {
    install_of(&TOOLS)
}

/// Installs the missing programs of the lab with apt.
pub(crate) fn install_lab() -> Result<()> {
    install_of(&LAB_TOOLS)
}

fn install_of(tools: &[Tool]) -> Result<()> {
    let missing = || tools.iter().filter(|tool| !tool.works());
    if missing().next().is_none() {
        eprintln!("packages: all there");
        return Ok(());
    }
    // Of two commands that begin at once, apt would refuse one; the second finds all there.
    let _lock = lock::take(&workspace::cache_dir()?.join("setup.lock"))?;
    let missing: Vec<&Tool> = missing().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
    let programs = programs.join(", ");
    if shell::find("apt-get").is_none() {
        bail!("these programs are missing, and there is no apt to install them: {programs}");
    }
    eprintln!("packages: installing what holds {programs}");
    let why = "installing packages";
    shell::run(shell::root_command("apt-get", why)?.args(["-qq", "update"]))?;
    let mut names: Vec<String> = Vec::new();
    for tool in missing {
        for name in available(tool)? {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let mut apt = shell::root_command("env", why)?;
    apt.args([
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
        "-y",
        "-q",
    ]);
    shell::run(apt.arg("--no-install-recommends").args(&names))
}

/// The first alternative that apt can install.
fn available(tool: &Tool) -> Result<Vec<String>> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("/proc/sys/kernel/osrelease could not be read")?;
    for alternative in tool.packages {
        let names: Vec<String> = alternative
            .replace("{kernel}", release.trim())
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let policy = shell::output(shell::command("apt-cache").arg("policy").args(&names))?;
        if candidates(&policy) == names.len() {
            return Ok(names);
        }
    }
    bail!(
        "apt has no package for {}: install it by hand",
        tool.program
    )
}

/// How many packages of `apt-cache policy` can be installed.
fn candidates(policy: &str) -> usize {
    policy
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate: "))
        .filter(|version| *version != "(none)")
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_package_has_no_candidate() {
        let policy = "fio:\n  Installed: 3.33-3\n  Candidate: 3.33-3\n  Version table:\n\
            bpftool:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        assert_eq!(candidates(policy), 1);
    }
}
