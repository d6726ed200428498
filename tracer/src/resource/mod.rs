//! What a scenario needs made before the run and removed after it, whatever ends the run.
//!
//! A loop device holds its backing file, already unlinked, and is itself held by an open descriptor
//! with autoclear: the kernel removes both when this process ends, even by SIGKILL. Files and network
//! namespaces are written down first ([`ledger`]), so that the next run removes what a killed one
//! left.

pub mod block_device;
mod guest;
mod ledger;
mod loop_device;
mod pci;
mod veth;
pub mod vif;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, anyhow, bail};

pub use ledger::clean_stale;

use ledger::Ledger;
use tracer_analysis::scenario::types::{Domain, Resource, ResourceKind};

/// A resource as the workload sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// A block device or file.
    Path(PathBuf),
    /// A pair of namespaces.
    Pair {
        /// One end.
        left: Place,
        /// The other.
        right: Place,
    },
}

/// A network namespace and its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name under `/run/netns`.
    pub namespace: String,
    /// Address without prefix length.
    pub address: String,
}

/// Everything made for a run. Dropping it removes it all.
#[derive(Debug)]
pub struct Resources {
    made: BTreeMap<String, Made>,
    loops: Vec<loop_device::LoopDevice>,
    ledger: Ledger,
}

impl Resources {
    /// Makes a scenario's resources and guests, until it is told to stop.
    ///
    /// # Errors
    /// If one cannot be made, or not any more; those made before it are removed.
    pub fn create(
        resources: &[Resource],
        domains: &[Domain],
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let ledger = Ledger::open()?;
        let mut all = Self {
            made: BTreeMap::new(),
            loops: Vec::new(),
            ledger,
        };
        for resource in resources {
            let made = all
                .make(resource, stop)
                .with_context(|| format!("cannot make the resource @{}", resource.name))?;
            all.made.insert(resource.name.clone(), made);
        }
        for domain in domains {
            if stop.load(Ordering::Relaxed) {
                bail!("stopped before domain {}", domain.name);
            }
            guest::prepare(domain, &mut all.ledger)
                .with_context(|| format!("cannot prepare domain {}", domain.name))?;
        }
        Ok(all)
    }

    fn make(&mut self, resource: &Resource, stop: &AtomicBool) -> anyhow::Result<Made> {
        let size = resource.size.map_or(0, |size| size.0);
        let directory = Path::new(resource.directory.as_deref().unwrap_or("/var/tmp"));
        match resource.kind {
            ResourceKind::Loop => {
                let file = tempfile::tempfile_in(directory)
                    .with_context(|| format!("cannot make a file in {}", directory.display()))?;
                fill(&file, size, directory, stop)?;
                let device = loop_device::LoopDevice::attach(&file)?;
                let path = device.path().to_owned();
                self.loops.push(device);
                Ok(Made::Path(path))
            }
            ResourceKind::File => {
                let path =
                    directory.join(format!("tracer-{}-{}", resource.name, std::process::id()));
                self.ledger.note(&ledger::Entry::File(path.clone()))?;
                let file = fs::File::create_new(&path)
                    .with_context(|| format!("cannot make {}", path.display()))?;
                fill(&file, size, directory, stop)?;
                Ok(Made::Path(path))
            }
            ResourceKind::Veth => veth::create(resource, &mut self.ledger),
        }
    }

    /// The path behind `@name`, or the path itself.
    ///
    /// # Errors
    /// If there is no such resource, or it is none with a path.
    pub fn path(&self, target: &str) -> anyhow::Result<PathBuf> {
        let Some(name) = target.strip_prefix('@') else {
            return Ok(target.into());
        };
        match self.made.get(name) {
            Some(Made::Path(path)) => Ok(path.clone()),
            Some(Made::Pair { .. }) => bail!("{target} is a network, not a path"),
            None => Err(anyhow!("there is no resource {target}")),
        }
    }

    /// The end behind `@name.left` or `@name.right`.
    ///
    /// # Errors
    /// If there is no such end.
    pub fn place(&self, reference: &str) -> anyhow::Result<Place> {
        let name = reference.trim_start_matches('@');
        let (name, side) = name.split_once('.').unwrap_or((name, ""));
        match (self.made.get(name), side) {
            (Some(Made::Pair { left, .. }), "left") => Ok(left.clone()),
            (Some(Made::Pair { right, .. }), "right") => Ok(right.clone()),
            _ => Err(anyhow!("there is no end {reference}")),
        }
    }

    /// Network interfaces by index: the host's, and those made for the run. Indexes are unique within a
    /// namespace only; interfaces that share one share its line.
    #[must_use]
    pub fn interfaces(&self) -> Vec<(u32, String)> {
        let mut names: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        let mut add = |namespace: Option<&str>, label: &str| {
            for (index, name) in veth::interfaces(namespace) {
                names
                    .entry(index)
                    .or_default()
                    .push(format!("{label}{name}"));
            }
        };
        let ends = self.made.iter().filter_map(|(name, made)| match made {
            Made::Pair { left, right } => Some([(name, "left", left), (name, "right", right)]),
            Made::Path(_) => None,
        });
        let mut any = false;
        for (name, side, place) in ends.flatten() {
            add(Some(&place.namespace), &format!("{name}.{side}/"));
            any = true;
        }
        if !any {
            add(None, "");
        }
        names
            .into_iter()
            .map(|(index, names)| (index, names.join(" + ")))
            .collect()
    }

    /// Removes everything.
    ///
    /// # Errors
    /// If something stays behind; the message names it.
    pub fn remove(mut self) -> anyhow::Result<()> {
        self.loops.clear();
        self.ledger.clear()
    }
}

/// The host's interfaces, by index.
#[must_use]
pub fn interfaces() -> Vec<(u32, String)> {
    veth::interfaces(None)
}

/// Writes data to a file: holes would be read without reaching the disk, and zeroes may be
/// compressed away. The data are a fixed pseudo-random sequence (SplitMix64, Steele et al. 2014).
fn fill(file: &fs::File, size: u64, directory: &Path, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut block = vec![0; 1 << 20];
    let mut state = 0u64;
    let mut done = 0;
    while done < size {
        if stop.load(Ordering::Relaxed) {
            bail!("stopped at {done} of {size} bytes");
        }
        for word in block.chunks_exact_mut(8) {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            word.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
        let count = (size - done).min(block.len() as u64);
        let piece = block.get(..usize::try_from(count)?).unwrap_or(&block);
        file.write_all_at(piece, done).with_context(|| {
            format!(
                "cannot write {size} bytes into {}; is it full?",
                directory.display()
            )
        })?;
        done += count;
    }
    file.sync_all().context("cannot write the file back")
}
