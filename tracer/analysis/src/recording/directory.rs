//! The run directory. Written as the run goes, each piece whole before the next, so that a crash
//! leaves what there was, marked partial: the manifest says `running` until the very end.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    recording::{
        bindings::Bindings, device::BlockDevice, environment::Finding, host::Hello,
        load::LoadResult, request::Request, snapshot::Snapshot,
    },
    saved,
    scenario::{Changes, RunChanges, Scenario},
};

/// The format's name and version.
pub const SCHEMA: &str = "tracer.run/2";

/// How far a run came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It runs, or ended without a word.
    Running,
    /// It ended well.
    Complete,
    /// It ended early, and why.
    Partial(String),
}

/// What a run is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// The tracer's version.
    pub version: String,
    /// When it began (RFC 3339).
    pub started: String,
    /// How far it came.
    pub state: State,
    /// How its scenario was changed; none: an older tracer made the run, and did not say.
    #[serde(default)]
    pub changes: Option<RunChanges>,
}

/// How a domain is traced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DomainStart {
    /// Its name.
    pub name: String,
    /// Its number, if it is a guest of the loader's Dom0.
    pub domid: Option<u16>,
    /// Its agent's first words.
    pub hello: Hello,
    /// What was asked for.
    pub request: Request,
    /// What was attached.
    pub bindings: Bindings,
    /// Block devices that are followed.
    pub devices: Vec<BlockDevice>,
    /// Interfaces by index.
    pub interfaces: Vec<(u32, String)>,
    /// How many queues its virtual cards have, the one that has most; none: no card, or not known.
    #[serde(default)]
    pub vif_queues: Option<u32>,
    /// Wishes and facts.
    pub environment: Vec<Finding>,
}

/// One measured iteration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IterationRecord {
    /// Its number, from 0.
    pub index: u32,
    /// What the measured load did.
    pub load: LoadResult,
    /// The domain in which it ran.
    pub domain: String,
    /// By domain: counters before and after.
    pub windows: BTreeMap<String, Window>,
}

/// A domain's counters around an iteration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    /// Before.
    pub before: Snapshot,
    /// After.
    pub after: Snapshot,
}

/// How a domain's tracing ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DomainEnd {
    /// Requests still in flight.
    pub in_flight: u64,
    /// Length of the file of its records, as the loader found it then; none: an older tracer made the run.
    #[serde(default)]
    pub record_bytes: Option<u64>,
}

/// A run directory.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Makes a directory for a new run.
    ///
    /// # Errors
    /// If it is there and not empty, or cannot be made.
    pub fn create(
        path: &Path,
        scenario: &str,
        changes: &RunChanges,
        started: String,
    ) -> anyhow::Result<Self> {
        if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            bail!(
                "the run directory {} is not empty: name another with --out",
                path.display()
            );
        }
        fs::create_dir_all(path)
            .with_context(|| format!("cannot make the run directory {}", path.display()))?;
        let run = Self {
            path: path.to_owned(),
        };
        run.write_manifest(&Manifest {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            started,
            state: State::Running,
            changes: Some(changes.clone()),
        })?;
        run.write("scenario.toml", scenario.as_bytes())?;
        Ok(run)
    }

    /// Opens the directory of a run that was.
    ///
    /// # Errors
    /// If it is none.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let run = Self {
            path: path.to_owned(),
        };
        let manifest = run.manifest()?;
        if manifest.schema != SCHEMA {
            bail!(
                "{} is of the format {}, this tracer reads {SCHEMA}",
                path.display(),
                manifest.schema
            );
        }
        Ok(run)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        saved::write_whole(&self.path, name, bytes)
    }

    /// Says how far the run has come.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn set_state(&self, state: State) -> anyhow::Result<()> {
        self.write_manifest(&Manifest {
            state,
            ..self.manifest()?
        })
    }

    fn write_manifest(&self, manifest: &Manifest) -> anyhow::Result<()> {
        self.write("manifest.json", &serde_json::to_vec_pretty(manifest)?)
    }

    /// The manifest.
    ///
    /// # Errors
    /// If there is none that can be read.
    pub fn manifest(&self) -> anyhow::Result<Manifest> {
        self.read("manifest.json")
            .with_context(|| format!("{} is not the directory of a run", self.path.display()))
    }

    /// The scenario.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn scenario(&self) -> anyhow::Result<Scenario> {
        Ok(Scenario::load(&self.path.join("scenario.toml"), Changes::default())?.0)
    }

    /// Writes how a domain is traced.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_start(&self, start: &DomainStart) -> anyhow::Result<()> {
        self.write(
            &format!("{}-start.json", start.name),
            &serde_json::to_vec_pretty(start)?,
        )
    }

    /// How a domain was traced; `None` if the run did not come so far.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn start(&self, domain: &str) -> anyhow::Result<Option<DomainStart>> {
        let name = format!("{domain}-start.json");
        if self.path.join(&name).exists() {
            self.read(&name).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Writes how a domain's tracing ended.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_end(&self, domain: &str, end: &DomainEnd) -> anyhow::Result<()> {
        self.write(&format!("{domain}-end.json"), &serde_json::to_vec(end)?)
    }

    /// How a domain's tracing ended; the default if it did not end in order.
    #[must_use]
    pub fn end(&self, domain: &str) -> DomainEnd {
        self.read(&format!("{domain}-end.json")).unwrap_or_default()
    }

    /// Adds a measured iteration.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_iteration(&self, iteration: &IterationRecord) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(iteration)?;
        line.push(b'\n');
        self.append("iterations.jsonl")?
            .write_all(&line)
            .with_context(|| format!("cannot write iterations.jsonl in {}", self.path.display()))
    }

    /// The measured iterations; a last line that was cut is left out.
    ///
    /// # Errors
    /// If they cannot be read, or a line before that is damaged.
    pub fn iterations(&self) -> anyhow::Result<Vec<IterationRecord>> {
        let text = match fs::read_to_string(self.path.join("iterations.jsonl")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).context("cannot read iterations.jsonl"),
        };
        let whole = text.rsplit_once('\n').map_or("", |(whole, _cut)| whole);
        whole
            .lines()
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_str(line).with_context(|| {
                    let file = self.path.join("iterations.jsonl");
                    format!("{}, line {}, is damaged", file.display(), index + 1)
                })
            })
            .collect()
    }

    /// The file of a domain's records, to add to.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn append(&self, name: &str) -> anyhow::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path.join(name))
            .with_context(|| format!("cannot write {name} in {}", self.path.display()))
    }

    /// The file of a domain's records, for another process to add to.
    ///
    /// # Errors
    /// If the working directory is gone.
    pub fn records_path(&self, domain: &str) -> anyhow::Result<PathBuf> {
        std::path::absolute(self.path.join(records_name(domain)))
            .with_context(|| format!("cannot find {}", self.path.display()))
    }

    /// The file of a domain's records, to read.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn records(&self, domain: &str) -> anyhow::Result<Option<File>> {
        match File::open(self.path.join(records_name(domain))) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("cannot read {}", records_name(domain)))
            }
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let path = self.path.join(name);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }
}

/// Name of the file of a domain's records.
#[must_use]
pub fn records_name(domain: &str) -> String {
    format!("{domain}-records.bin")
}
