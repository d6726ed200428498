//! apt without the machine's own lists: to look into other suites and to download without installing.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// An apt with folders of its own: no root needed, and the machine's lists stay untouched.
pub(crate) struct PrivateApt {
    work: PathBuf,
}

impl PrivateApt {
    /// In the folder `work`, with `sources` in the form of a `.sources` file.
    pub(crate) fn create(work: &Path, sources: &str) -> Result<Self> {
        for dir in [
            "lists/partial",
            "cache/archives/partial",
            "sources",
            "preferences",
        ] {
            let dir = work.join(dir);
            fs::create_dir_all(&dir)
                .with_context(|| format!("{} could not be created", dir.display()))?;
        }
        let file = work.join("sources/suite.sources");
        fs::write(&file, sources)
            .with_context(|| format!("{} could not be written", file.display()))?;
        Ok(Self {
            work: work.to_owned(),
        })
    }

    /// Fetches the suites' lists.
    pub(crate) fn update(&self) -> Result<()> {
        shell::output(self.command("apt-get").args(["-qq", "update"])).map(drop)
    }

    /// One of apt's programs, with this apt's folders.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = shell::command(program);
        for (option, value) in [
            ("Dir::Etc::SourceList", "/dev/null".into()),
            ("Dir::Etc::SourceParts", self.work.join("sources")),
            ("Dir::Etc::PreferencesParts", self.work.join("preferences")),
            ("Dir::State::Lists", self.work.join("lists")),
            ("Dir::Cache", self.work.join("cache")),
        ] {
            command
                .arg("-o")
                .arg(format!("{option}={}", value.display()));
        }
        command.args(["-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none"]);
        // Descriptions of programs for people, which a desktop's apt fetches with each list.
        command.args([
            "-o",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
        ]);
        command.current_dir(&self.work);
        command
    }

    /// Downloads packages, each `NAME` or `NAME=VERSION`, into a folder that is made anew; returns their files.
    pub(crate) fn download(&self, wanted: &[String], folder: &Path) -> Result<Vec<PathBuf>> {
        // What an earlier download left.
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)
            .with_context(|| format!("{} could not be created", folder.display()))?;
        let mut apt = self.command("apt-get");
        apt.args(["-qq", "download"]).args(wanted);
        shell::output(apt.current_dir(folder))?;
        let entries = folder
            .read_dir()
            .context("the download folder is unreadable")?;
        let files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .collect();
        if files.len() != wanted.len() {
            bail!("apt-get did not download each of {}", wanted.join(", "));
        }
        Ok(files)
    }
}
