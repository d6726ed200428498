//! A lab, up or not: its folder, its QEMU and its namespace, and how it goes.
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::command_line::Added;
use super::guests::{self, Guest};
use super::job::Domain;
use super::kernel::Kernels;
use super::network::Namespace;
use super::place;
use super::versions::Xen;
use crate::{lock, signal};

const POLL: Duration = Duration::from_millis(50);

/// What a lab is made of: the same again is the same lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) xen: Xen,
    pub(super) kernels: Kernels,
    /// To the command lines.
    pub(super) added: Added,
    /// Emulated CPUs.
    pub(super) cpus: u32,
    pub(super) dom0_vcpus: u32,
    /// Without Xen.
    pub(super) native: bool,
    /// The emulated clock counts instructions, of two to the power of this nanoseconds each, instead of
    /// following the host's.
    pub(super) virtual_time: Option<u8>,
}

impl Config {
    /// The guests' configurations, by their names.
    pub(super) fn guests(&self) -> Vec<(&'static str, String)> {
        guests::configs(self.dom0_vcpus, self.cpus, &self.added.guest)
    }

    /// The domain that answers first.
    pub(super) const fn first_domain(&self) -> &'static str {
        if self.native { "native" } else { "dom0" }
    }
}

/// One lab, up or not.
#[derive(Clone, Debug)]
pub(super) struct Lab {
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

impl Lab {
    pub(super) fn named(name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            folder: place::of_lab(name)?,
        })
    }

    pub(super) fn namespace(&self) -> Namespace {
        Namespace::of(&self.name, place::of_all(&self.folder))
    }

    pub(super) fn domain(&self, name: &str) -> Domain {
        Domain::of(&self.folder, name)
    }

    /// What it was made of, if it has come up whole and still runs.
    pub(super) fn running(&self) -> Option<Config> {
        qemu(&self.folder)?;
        let text = fs::read(self.folder.join("config.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Saves what the console of a failed boot said, beside the lab's folder; the next replaces it.
    pub(super) fn keep_log(&self) -> std::io::Result<PathBuf> {
        let log = self.folder.with_extension("log");
        fs::copy(self.folder.join("console.log"), &log)?;
        Ok(log)
    }

    /// Whether the guest answers commands.
    pub(super) fn has_guest(&self, guest: &Guest) -> bool {
        let ready = format!("share/guests/{}.ready", guest.name);
        self.folder.join(ready).exists()
    }

    /// Ends the lab; nothing of it is left.
    pub(super) fn down(&self) -> Result<()> {
        let _lock = lock::take(&self.folder.with_extension("lock"))?;
        self.remove()?;
        // The lock's file is empty; another process may just have taken it.
        let _ = fs::remove_file(self.folder.with_extension("lock"));
        Ok(())
    }

    /// Removes whatever there is, of a whole lab or half a one.
    pub(super) fn remove(&self) -> Result<()> {
        let namespace = self.namespace();
        let mut left: Vec<u32> = namespace.processes();
        left.extend(qemu(&self.folder));
        for pid in &left {
            signal::send(*pid, libc::SIGKILL);
        }
        let start = Instant::now();
        while left.iter().any(|pid| is_alive(*pid)) {
            if start.elapsed() > Duration::from_secs(10) {
                bail!("the lab's processes {left:?} do not end");
            }
            thread::sleep(POLL);
        }
        for pid in &left {
            signal::reap(*pid);
        }
        namespace.remove()?;
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)
                .with_context(|| format!("{} could not be removed", self.folder.display()))?;
        }
        Ok(())
    }
}

/// Whether the process is there and not a zombie, which a parent may keep for a while.
fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        !matches!(state, Some('Z' | 'X'))
    })
}

/// The lab's QEMU, if it runs. A number that another process got meanwhile is told by its arguments.
pub(super) fn qemu(folder: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(folder.join("qemu.pid"))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments = String::from_utf8_lossy(&arguments);
    (arguments.contains(folder.to_str()?) && is_alive(pid)).then_some(pid)
}
