//! The toolchain that setup chose, kept so that later commands need not search again.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::compiler::{Compiler, TOOLCHAIN_VARIABLE};
use crate::{shell, workspace};

/// How the eBPF programs are built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Choice {
    /// The toolchain's name.
    pub(crate) toolchain: String,
    /// Its release when it was chosen.
    pub(crate) release: String,
    /// The bpf-linker that works with it.
    pub(crate) linker: PathBuf,
}

impl Choice {
    pub(crate) fn new(compiler: &Compiler, linker: &Path) -> Self {
        Self {
            toolchain: compiler.toolchain.clone(),
            release: compiler.version.release.clone(),
            linker: linker.to_owned(),
        }
    }

    /// The saved choice, if there is one and the machine still is as it was.
    pub(crate) fn load() -> Option<Self> {
        let text = fs::read_to_string(file()).ok()?;
        let choice: Self = serde_json::from_str(&text).ok()?;
        let asked_for = std::env::var(TOOLCHAIN_VARIABLE).unwrap_or_default();
        if !asked_for.is_empty() && asked_for != choice.toolchain {
            return None;
        }
        let compiler = Compiler::ask(&choice.toolchain).ok()?;
        let unchanged = compiler.has_source()
            && compiler.version.release == choice.release
            && shell::succeeds(shell::command(&choice.linker).arg("--version"));
        unchanged.then_some(choice)
    }

    /// Saves it in the target folder.
    pub(crate) fn save(&self) -> Result<()> {
        let file = file();
        let text = serde_json::to_string_pretty(self).context("the choice cannot be written")?;
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir)
                .with_context(|| format!("{} could not be created", dir.display()))?;
        }
        fs::write(&file, text + "\n")
            .with_context(|| format!("{} could not be written", file.display()))
    }

    /// Hands the toolchain to `tracer/build.rs`.
    pub(crate) fn apply(&self, command: &mut Command) -> Result<()> {
        let dir = self.linker.parent().context("bpf-linker has no folder")?;
        command
            .env(TOOLCHAIN_VARIABLE, &self.toolchain)
            .env("PATH", shell::path_with(dir)?);
        Ok(())
    }
}

fn file() -> PathBuf {
    workspace::target_dir().join("xtask/ebpf-toolchain.json")
}
