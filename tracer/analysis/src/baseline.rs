//! Baselines: what later runs are checked against. One JSON file each, in a folder that can be a part of a
//! Git repository.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    check::CheckedRun,
    saved::{self, Kind, write_new, write_whole},
};

/// The schema's name and version.
pub const SCHEMA: &str = "tracer.baseline/1";
/// Longest name, in bytes.
const LONGEST_NAME: usize = 100;

/// What to say of a file that is no baseline.
pub const KIND: Kind = Kind {
    what: "a baseline",
    schema: SCHEMA,
    choice: "name a baseline, a run directory, or a report saved with `tracer report RUN --format json --output FILE`",
    again: "`tracer baseline save RUN... --name NAME --replace`",
};

/// Runs of one scenario on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the tracer that saved it.
    pub version: String,
    /// Its name.
    pub name: String,
    /// The runs.
    pub runs: Vec<CheckedRun>,
}

impl Baseline {
    /// A baseline of these runs.
    ///
    /// # Errors
    /// If the name is none, or there are no runs. Whether they are of a kind [`not_of_a_kind`] says.
    ///
    /// [`not_of_a_kind`]: crate::check::not_of_a_kind
    pub fn new(name: &str, runs: Vec<CheckedRun>) -> anyhow::Result<Self> {
        check_name(name)?;
        ensure!(!runs.is_empty(), "a baseline needs a run");
        Ok(Self {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            name: name.into(),
            runs: runs.into_iter().map(CheckedRun::trimmed).collect(),
        })
    }

    /// Reads a baseline; `file` is its name.
    ///
    /// # Errors
    /// If it is none, of another version, or damaged.
    pub fn parse(text: &str, file: &str) -> anyhow::Result<Self> {
        let baseline: Self = saved::parse(text, file, &KIND)?;
        ensure!(
            !baseline.runs.is_empty(),
            "{file} is damaged: it has no runs"
        );
        for run in &baseline.runs {
            if let Some(problem) = run.problem() {
                bail!(
                    "{file}: {}: {problem}; save it again with {}",
                    run.source,
                    KIND.again
                );
            }
        }
        Ok(baseline)
    }

    /// The JSON schema of baselines.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

/// Refuses what is no name: it becomes that of a file.
fn check_name(name: &str) -> anyhow::Result<()> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= LONGEST_NAME
        && name.chars().all(is_allowed);
    ensure!(
        is_name,
        "{name:?} is no name of a baseline; allowed: up to {LONGEST_NAME} letters, digits and . _ - +, the first a letter or digit"
    );
    Ok(())
}

/// A folder of baselines.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The baselines in this folder, which need not be there yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Where a baseline is, or would be; `None`: this is no name of one.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        Self::file(name).map(|file| self.folder.join(file)).ok()
    }

    /// The file of a baseline, in the folder.
    fn file(name: &str) -> anyhow::Result<String> {
        check_name(name)?;
        Ok(format!("{name}.json"))
    }

    /// Saves a baseline, whole or not at all; returns its file.
    ///
    /// # Errors
    /// If there is one of this name and it is not to be replaced, or it cannot be written.
    pub fn save(&self, baseline: &Baseline, replace: bool) -> anyhow::Result<PathBuf> {
        let file = Self::file(&baseline.name)?;
        let path = self.folder.join(&file);
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make the folder {}", self.folder.display()))?;
        let mut bytes = serde_json::to_vec_pretty(baseline)?;
        bytes.push(b'\n');
        if replace {
            write_whole(&self.folder, &file, &bytes)?;
        } else if !write_new(&self.folder, &file, &bytes)? {
            bail!(
                "{} is there already: name another, or give --replace",
                path.display()
            );
        }
        Ok(path)
    }

    /// Reads a baseline.
    ///
    /// # Errors
    /// If there is none of this name, with those that there are; or it cannot be read.
    pub fn load(&self, name: &str) -> anyhow::Result<Baseline> {
        let path = self.folder.join(Self::file(name)?);
        let file = path.display().to_string();
        match fs::read_to_string(&path) {
            Ok(text) => Baseline::parse(&text, &file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let names = self.names()?.join(", ");
                let names = if names.is_empty() {
                    "none".into()
                } else {
                    names
                };
                bail!(
                    "there is no baseline {name} in {}, and no run or report of this name (baselines there: {names}); save one with `tracer baseline save RUN... --name {name}`",
                    self.folder.display()
                )
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {file}")),
        }
    }

    /// The names of the baselines.
    ///
    /// # Errors
    /// If the folder cannot be read; that there is none is no error.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        let context = || format!("cannot read the folder {}", self.folder.display());
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(context),
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.with_context(context)?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".json"));
            names.extend(
                name.filter(|name| check_name(name).is_ok())
                    .map(ToOwned::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_no_ways_out_of_the_store() {
        let store = Store::new(Path::new("baselines"));
        for name in ["6.12", "v6.12-rc1+", "a_b"] {
            assert!(store.path(name).is_some(), "{name}");
        }
        let long = "x".repeat(101);
        for name in [
            "", "..", ".x", "-x", "a/b", "../x", "/etc/x", "a\0b", "ä", "a b", &long,
        ] {
            assert!(store.path(name).is_none(), "{name}");
            assert!(store.load(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_baseline_is_read_as_it_was_saved_and_replaced_only_if_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("new"));
        assert!(store.names().unwrap().is_empty());
        let baseline = Baseline::new("a", vec![CheckedRun::default()]).unwrap();
        let path = store.save(&baseline, false).unwrap();
        assert_eq!(store.load("a").unwrap(), baseline);
        assert!(
            store
                .save(&baseline, false)
                .unwrap_err()
                .to_string()
                .contains("--replace")
        );
        store.save(&baseline, true).unwrap();
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing else is left: {names:?}");
        assert!(
            store
                .load("b")
                .unwrap_err()
                .to_string()
                .contains("baselines there: a")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_damaged_baseline_is_read_or_refused_with_its_file(
            at in any::<prop::sample::Index>(),
            with in "\\PC{0,3}",
            cut in any::<bool>(),
        ) {
            let baseline = Baseline::new("a", vec![CheckedRun::default()]).unwrap();
            let text = serde_json::to_string(&baseline).unwrap();
            let at = at.index(text.len());
            let rest = if cut { "" } else { &text[at + 1..] };
            if let Err(error) = Baseline::parse(&format!("{}{with}{rest}", &text[..at]), "file") {
                prop_assert!(format!("{error:#}").starts_with("file"), "{:#}", error);
            }
        }

        #[test]
        fn any_text_is_refused(text in "\\PC*") {
            prop_assert!(Baseline::parse(&text, "file").is_err());
        }
    }
}
