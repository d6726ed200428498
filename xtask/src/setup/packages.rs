//! Packages that running and testing need.

use anyhow::{Context as _, bail};

use crate::process::{find, is_root, root_command, run, say};

/// A program, the package that has it, and what it is for.
const PROGRAMS: [(&str, &str, &str); 6] = [
    ("cc", "gcc", "linking Rust programs"),
    ("ip", "iproute2", "network namespaces of scenarios"),
    (
        "fio",
        "fio",
        "tests that compare with fio, and the benchmark",
    ),
    (
        "blktrace",
        "blktrace",
        "tests that compare with blktrace, and the benchmark",
    ),
    ("bpftrace", "bpftrace", "the benchmark"),
    ("bpftool", "bpftool", "the benchmark"),
];

/// Installs the packages whose programs are missing; `check` only looks.
pub(super) fn install(check: bool) -> anyhow::Result<()> {
    let missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|(program, ..)| find(program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for (program, package, purpose) in &missing {
        say(&format!(
            "{program} is missing (package {package}): {purpose}"
        ));
    }
    if check {
        bail!("packages are missing; `cargo xtask setup` installs them");
    }
    if find("apt-get").is_none() {
        bail!("this is no Debian or Ubuntu: install these programs by hand");
    }
    if !is_root() {
        say("installing packages needs root: sudo may ask for your password");
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package, _)| *package).collect();
    run(root_command("apt-get").args(["update", "-qq"]))
        .context("cannot update the package lists")?;
    run(root_command("env")
        .args([
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
        ])
        .args(&packages))
    .context("cannot install packages")
}
