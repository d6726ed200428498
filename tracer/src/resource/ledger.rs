//! What a run has made that outlives its process, written down before it is made.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
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

    /// Whether a later entry says the same, and more.
    fn is_settled_by(&self, later: &Self) -> bool {
        match (self, later) {
            (Self::Guest(change), Self::Guest(later)) => change.is_settled_by(later),
            _ => false,
        }
    }
}

/// What `ip` of iproute2 prints.
pub(super) fn ip(args: &[&str]) -> anyhow::Result<String> {
    program::output("ip", args, "on Debian, apt-get install iproute2")
}

/// One process's ledger; dropping it removes what it lists. It is locked as long as its process lives:
/// the process's number alone may be another one's later.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: Option<File>,
    entries: Vec<Entry>,
}

impl Ledger {
    /// Begins a ledger; first removes what dead processes left.
    pub(super) fn open() -> anyhow::Result<Self> {
        clean_stale()?;
        Ok(Self::in_folder(Path::new(FOLDER)))
    }

    fn in_folder(folder: &Path) -> Self {
        Self {
            path: folder.join(std::process::id().to_string()),
            file: None,
            entries: Vec::new(),
        }
    }

    /// Writes down what is about to be made.
    pub(super) fn note(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let context = || format!("cannot write {}; run as root", self.path.display());
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if self.file.is_none() {
            self.file = Some(create_locked(&self.path).with_context(context)?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&line).with_context(context)?;
        }
        self.entries.push(entry.clone());
        Ok(())
    }

    /// Removes everything listed, last first.
    pub(super) fn clear(&mut self) -> anyhow::Result<()> {
        let removed = remove_all(&std::mem::take(&mut self.entries), &self.path);
        self.file = None;
        removed
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::error!("{error:#}");
        }
    }
}

fn create_locked(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::options().create(true).append(true).open(path)?;
    file.lock()?;
    Ok(file)
}

fn remove_all(entries: &[Entry], ledger: &Path) -> anyhow::Result<()> {
    let mut failures = Vec::new();
    for (index, entry) in entries.iter().enumerate().rev() {
        let mut later = entries[index + 1..].iter();
        if later.any(|later| entry.is_settled_by(later)) {
            continue;
        }
        if let Err(error) = entry.remove() {
            failures.push(format!("{error:#}"));
        }
    }
    if !failures.is_empty() {
        bail!(
            "left behind: {}; the next run tries again, until {} is removed",
            failures.join("; "),
            ledger.display()
        );
    }
    let _ = fs::remove_file(ledger);
    Ok(())
}

/// Removes what processes left that did not end well. Those that still run keep theirs.
///
/// # Errors
/// If something cannot be removed.
pub fn clean_stale() -> anyhow::Result<()> {
    clean_folder(Path::new(FOLDER))
}

fn clean_folder(folder: &Path) -> anyhow::Result<()> {
    let Ok(folder) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in folder.flatten() {
        let Ok(mut file) = File::open(entry.path()) else {
            continue;
        };
        // Its process lives, or another one is at it.
        if file.try_lock().is_err() {
            continue;
        }
        let mut text = String::new();
        // Nothing in it: its process is about to lock it.
        if file.read_to_string(&mut text).is_err() || text.is_empty() {
            continue;
        }
        let entries: Vec<Entry> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let owner = entry.file_name();
        tracing::info!(
            "removing what process {} left: {entries:?}",
            owner.display()
        );
        remove_all(&entries, &entry.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger of a file, and both paths.
    fn ledger(folder: &Path) -> (Ledger, PathBuf) {
        let made = folder.join("made");
        let mut ledger = Ledger::in_folder(&folder.join("ledgers"));
        ledger.note(&Entry::File(made.clone())).unwrap();
        fs::write(&made, "data").unwrap();
        (ledger, made)
    }

    #[test]
    fn what_a_living_process_has_made_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, made) = ledger(folder.path());
        clean_folder(&folder.path().join("ledgers")).unwrap();
        assert!(made.exists());
        drop(ledger);
        assert!(!made.exists());
    }

    #[test]
    fn what_a_dead_process_has_made_is_removed_whoever_has_its_number_now() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, made) = ledger(folder.path());
        let path = ledger.path.clone();
        // As a killed process would: the lock goes, the file stays. Its number is that of this test.
        ledger.file = None;
        ledger.entries.clear();
        clean_folder(&folder.path().join("ledgers")).unwrap();
        assert!(!made.exists() && !path.exists());
    }

    #[test]
    fn a_guest_that_is_known_by_its_number_is_not_looked_for_by_its_name() {
        let creating = Entry::Guest(Change::Creating("C".into()));
        let created = |guest: &str| {
            Entry::Guest(Change::Created {
                guest: guest.into(),
                domid: 3,
            })
        };
        assert!(creating.is_settled_by(&created("C")));
        assert!(!creating.is_settled_by(&created("D")));
        assert!(!created("C").is_settled_by(&creating));
    }
}
