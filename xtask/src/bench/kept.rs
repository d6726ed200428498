//! The folder of a benchmark's runs: one that was interrupted goes on from there.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// What was set, in the folder.
const SETTINGS: &str = "settings.json";
/// What was measured, in a run's own folder; written last.
const SAMPLE: &str = "sample.json";

/// A folder of runs.
pub(super) struct Kept {
    folder: PathBuf,
}

impl Kept {
    /// Makes the folder, or finds one of the same settings.
    ///
    /// # Errors
    /// Also when it has runs of other settings.
    pub(super) fn open(folder: PathBuf, settings: &Value) -> Result<Self> {
        fs::create_dir_all(&folder)
            .with_context(|| format!("{} could not be created", folder.display()))?;
        let file = folder.join(SETTINGS);
        let text = settings.to_string();
        match read(&file)? {
            None => write(&file, &text)?,
            Some(there) if there == text => {}
            Some(_) => bail!(
                "{} has runs of other settings; name another --out",
                folder.display()
            ),
        }
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A run's own folder.
    pub(super) fn run(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The sample of a run that came to its end.
    pub(super) fn sample<S: DeserializeOwned>(&self, name: &str) -> Result<Option<S>> {
        let file = self.run(name).join(SAMPLE);
        let text = read(&file)?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .with_context(|| format!("{} is no sample; remove its folder", file.display()))
    }

    /// Removes what there is of a run that did not.
    pub(super) fn forget(&self, name: &str) -> Result<()> {
        let run = self.run(name);
        if !run.exists() {
            return Ok(());
        }
        fs::remove_dir_all(&run).with_context(|| format!("{} could not be removed", run.display()))
    }

    /// Keeps the sample of a run.
    pub(super) fn keep(&self, name: &str, sample: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(sample).context("the sample is no JSON")?;
        write(&self.run(name).join(SAMPLE), &text)
    }
}

/// A file's text, if there is one.
fn read(file: &Path) -> Result<Option<String>> {
    if !file.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(file);
    text.map(Some)
        .with_context(|| format!("{} could not be read", file.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("{} could not be written", file.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_that_ended_is_kept_and_another_is_made_again() {
        let folder = std::env::temp_dir().join(format!("xtask-kept-{}", std::process::id()));
        let settings = json!({"iterations": 3});
        let kept = Kept::open(folder.clone(), &settings).unwrap();
        let sample = vec![1u64, 10];
        for name in ["whole", "half"] {
            fs::create_dir_all(kept.run(name)).unwrap();
        }
        kept.keep("whole", &sample).unwrap();
        let again = Kept::open(folder.clone(), &settings).unwrap();
        assert_eq!(again.sample("whole").unwrap(), Some(sample));
        assert_eq!(again.sample::<Vec<u64>>("half").unwrap(), None);
        again.forget("half").unwrap();
        assert!(!again.run("half").exists());
        again.forget("none").unwrap();
        let other = Kept::open(folder.clone(), &json!({"iterations": 4}));
        assert!(other.is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
