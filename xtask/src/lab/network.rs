//! The peer host and its wires: a network namespace that has no address outside it. QEMU runs inside,
//! so that nothing of the machine's own network is touched.
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::place;
use crate::shell;

/// The peer's address, and that of each domain's interfaces, on one network.
pub(super) const PEER: &str = "10.77.0.1/24";
pub(super) const DOM0: &str = "10.77.0.10/24";
pub(super) const GUEST_A: &str = "10.77.0.21/24";
pub(super) const GUEST_B: &str = "10.77.0.22/24";
pub(super) const GUEST_C: &str = "10.77.0.23/24";
/// The passed-through card's, in B: a network of its own, so that the way is never in doubt.
pub(super) const PASSTHROUGH: &str = "10.78.0.22/24";
/// The peer's on that network.
pub(super) const PEER_PASSTHROUGH: &str = "10.78.0.1/24";

/// The namespace of a lab.
#[derive(Clone, Debug)]
pub(super) struct Namespace {
    name: String,
}

impl Namespace {
    /// That of the lab of this name in this folder (of all labs); it need not exist. Namespaces are the whole
    /// machine's: labs of one name in two folders are two labs, and must not end one another.
    pub(super) fn of(lab: &str, folder: &Path) -> Self {
        let place = if folder == Path::new(place::DEFAULT) {
            String::new()
        } else {
            let path = folder.display().to_string();
            format!("@{}", path.replace('%', "%25").replace('/', "%2f"))
        };
        Self {
            name: format!("tracer-lab-{lab}{place}"),
        }
    }

    /// Makes it, with two taps: `tap0` for Dom0's card, `tap1` for the one that is passed through.
    pub(super) fn create(&self) -> Result<()> {
        shell::output(shell::command("ip").args(["netns", "add", &self.name]))
            .context("the lab's network namespace could not be made")?;
        let steps = [
            "link set lo up",
            "tuntap add dev tap0 mode tap",
            "tuntap add dev tap1 mode tap",
            "link set tap0 up",
            "link set tap1 up",
        ];
        for step in steps {
            self.ip(step)?;
        }
        self.ip(&format!("address add {PEER} dev tap0"))?;
        self.ip(&format!("address add {PEER_PASSTHROUGH} dev tap1"))
    }

    fn ip(&self, arguments: &str) -> Result<()> {
        let mut ip = shell::command("ip");
        ip.args(["-n", &self.name])
            .args(arguments.split_whitespace());
        shell::output(&mut ip)
            .map(drop)
            .context("the lab's network could not be made; is there a /dev/net/tun?")
    }

    /// A command inside.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = shell::command("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Processes inside.
    pub(super) fn processes(&self) -> Vec<u32> {
        let list = shell::output(shell::command("ip").args(["netns", "pids", &self.name]));
        list.unwrap_or_default()
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .collect()
    }

    pub(super) fn exists(&self) -> bool {
        Path::new("/run/netns").join(&self.name).exists()
    }

    /// Removes it, with its taps.
    pub(super) fn remove(&self) -> Result<()> {
        if !self.exists() {
            return Ok(());
        }
        shell::output(shell::command("ip").args(["netns", "delete", &self.name])).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labs_of_one_name_in_two_folders_have_two_namespaces() {
        let name = |folder: &str| Namespace::of("a", Path::new(folder)).name;
        assert_eq!(name(place::DEFAULT), "tracer-lab-a");
        assert_eq!(name("/srv/b"), "tracer-lab-a@%2fsrv%2fb");
        assert_ne!(name("/srv/b"), name("/srv%2fb"));
    }
}
