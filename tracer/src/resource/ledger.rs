//! What a run has made that outlives its process, written down before it is made.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::{platform::program, resource::guest::Change};

/// Where ledgers are, one a process.
const FOLDER: &str = "/run/tracer";

/// Something to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Entry {
    /// A file.
    File(PathBuf),
    /// A network namespace; its devices go with it.
    Namespace(String),
    /// What was done to a guest.
    Guest(Change),
}

impl Entry {
    fn remove(&self) -> anyhow::Result<()> {
        match self {
            Self::File(path) => match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("cannot remove {}", path.display()))
                }
                _ => Ok(()),
            },
            Self::Namespace(name) => {
                if !Path::new("/run/netns").join(name).exists() {
                    return Ok(());
                }
                ip(&["netns", "delete", name]).map(drop)
            }
            Self::Guest(change) => change.undo(),
        }
    }
}

/// What `ip` of iproute2 prints.
pub(super) fn ip(args: &[&str]) -> anyhow::Result<String> {
    program::output("ip", args, "on Debian, apt-get install iproute2")
}

/// One process's ledger; dropping it removes what it lists.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Ledger {
    /// Begins a ledger; first removes what dead processes left.
    pub(super) fn open() -> anyhow::Result<Self> {
        clean_stale()?;
        Ok(Self {
            path: Path::new(FOLDER).join(std::process::id().to_string()),
            entries: Vec::new(),
        })
    }

    /// Writes down what is about to be made.
    pub(super) fn note(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let context = || format!("cannot write {}; run as root", self.path.display());
        fs::create_dir_all(FOLDER).with_context(context)?;
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .with_context(context)?;
        writeln!(file, "{}", serde_json::to_string(entry)?).with_context(context)?;
        self.entries.push(entry.clone());
        Ok(())
    }

    /// Removes everything listed, last first.
    pub(super) fn clear(&mut self) -> anyhow::Result<()> {
        remove_all(&std::mem::take(&mut self.entries), &self.path)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::error!("{error:#}");
        }
    }
}

fn remove_all(entries: &[Entry], ledger: &Path) -> anyhow::Result<()> {
    let mut failures = Vec::new();
    for entry in entries.iter().rev() {
        if let Err(error) = entry.remove() {
            failures.push(format!("{error:#}"));
        }
    }
    if !failures.is_empty() {
        bail!("left behind: {}", failures.join("; "));
    }
    let _ = fs::remove_file(ledger);
    Ok(())
}

/// Removes what processes left that did not end well. Those that still run keep theirs.
///
/// # Errors
/// If something cannot be removed.
pub fn clean_stale() -> anyhow::Result<()> {
    let Ok(folder) = fs::read_dir(FOLDER) else {
        return Ok(());
    };
    for file in folder.flatten() {
        let owner = file.file_name();
        if Path::new("/proc").join(&owner).exists() {
            continue;
        }
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        let entries: Vec<Entry> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        tracing::info!(
            "removing what process {} left: {entries:?}",
            owner.display()
        );
        remove_all(&entries, &file.path())?;
    }
    Ok(())
}
