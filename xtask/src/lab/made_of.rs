//! What a folder's runs are made of: none of another build of a kernel, or with other settings, are added to them.
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::instance::Config;
use super::{packages, place};
use crate::{lock, shell};

/// The file's name, beside the runs.
const FILE: &str = "made-of.json";

/// One side's machine, and the builds of its kernels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Side {
    machine: Config,
    pub(super) build: String,
}

impl Side {
    /// The kernel is downloaded, if it is not there.
    pub(super) fn new(machine: &Config) -> Result<Self> {
        let _lock = lock::take(&place::cache()?.join("lock"))?;
        let kernels = &machine.kernels;
        let mut build = packages::kernel(&kernels.dom0)?.release_and_times()?;
        if kernels.guest != kernels.dom0 {
            build += ", ";
            build += &packages::kernel(&kernels.guest)?.release_and_times()?;
        }
        Ok(Self {
            machine: machine.clone(),
            build,
        })
    }
}

/// What the runs of a scenario on two kernels are made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MadeOf {
    pub(super) base: Side,
    pub(super) new: Side,
    /// The domain in which the tracer runs.
    pub(super) domain: String,
    /// Further arguments for `tracer run`.
    pub(super) args: Vec<String>,
    /// The scenario's text.
    pub(super) scenario: String,
    /// The [`digest`] of the tracer: another one may have other points.
    #[serde(default)]
    pub(super) tracer: String,
}

/// What tells one build of a file from another: its SHA-256, by coreutils.
pub(super) fn digest(file: &Path) -> Result<String> {
    let said = shell::output(shell::command("sha256sum").arg("--").arg(file))?;
    let words = said.split_whitespace().next();
    words.map(str::to_owned).context("sha256sum said nothing")
}

/// What the runs of all of the paper's cases are made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PaperMadeOf {
    pub(super) xen: Side,
    pub(super) native: Side,
}

/// The names of those that differ.
pub(super) fn differing<const N: usize>(parts: [(&'static str, bool); N]) -> Vec<&'static str> {
    let differing = parts.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(what, _)| what).collect()
}

/// Refuses a folder whose runs are made of something else; says what this one's are.
fn claim<T: Serialize + DeserializeOwned>(
    made_of: &T,
    folder: &Path,
    differing: fn(&T, &T) -> Vec<&'static str>,
) -> Result<()> {
    let file = folder.join(FILE);
    if file.exists() {
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let there: T = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged: remove the folder", file.display()))?;
        let differing = differing(made_of, &there);
        if !differing.is_empty() {
            bail!(
                "the runs in {} are of another {}: name another folder with --out, or remove this one",
                folder.display(),
                differing.join(", ")
            );
        }
        return Ok(());
    }
    let write = || {
        fs::create_dir_all(folder)?;
        fs::write(&file, serde_json::to_vec_pretty(made_of)?)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

impl PaperMadeOf {
    /// As [`MadeOf::claim`].
    pub(super) fn claim(&self, folder: &Path) -> Result<()> {
        claim(self, folder, |this, there| {
            differing([
                ("machine with Xen", this.xen.machine != there.xen.machine),
                (
                    "machine without Xen",
                    this.native.machine != there.native.machine,
                ),
                (
                    "build of the kernel",
                    (&this.xen.build, &this.native.build)
                        != (&there.xen.build, &there.native.build),
                ),
            ])
        })
    }
}

impl MadeOf {
    /// Refuses a folder whose runs are made of something else; says what this one's are.
    pub(super) fn claim(&self, folder: &Path) -> Result<()> {
        claim(self, folder, Self::differing)
    }

    fn differing(&self, there: &Self) -> Vec<&'static str> {
        differing([
            (
                "machine of the base",
                self.base.machine != there.base.machine,
            ),
            (
                "machine of the new kernel",
                self.new.machine != there.new.machine,
            ),
            ("build of the base", self.base.build != there.base.build),
            ("build of the new kernel", self.new.build != there.new.build),
            ("domain of the tracer", self.domain != there.domain),
            ("list of arguments", self.args != there.args),
            ("text of the scenario", self.scenario != there.scenario),
            ("build of the tracer", self.tracer != there.tracer),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::super::command_line::Added;
    use super::super::kernel::Kernels;
    use super::super::versions::Xen;
    use super::*;

    fn side(kernel: &str) -> Side {
        Side {
            machine: Config {
                xen: Xen::V4_17,
                kernels: Kernels::all(&kernel.parse().unwrap()),
                added: Added::default(),
                cpus: 4,
                dom0_vcpus: 2,
                native: false,
                virtual_time: None,
            },
            build: "6.1 1 2".into(),
        }
    }

    fn folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("xtask-made-of-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_page_is_of_one_machine() {
        let folder = folder("paper");
        let of = |kernel| {
            let mut native = side(kernel);
            native.machine.native = true;
            PaperMadeOf {
                xen: side(kernel),
                native,
            }
        };
        of("6.1").claim(&folder).unwrap();
        of("6.1").claim(&folder).unwrap();
        let refused = of("6.12").claim(&folder).unwrap_err().to_string();
        assert!(
            refused.contains("another machine with Xen, machine without Xen: name"),
            "{refused}"
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn runs_of_another_build_or_with_other_arguments_are_not_mixed() {
        let folder = folder("check");
        let made_of = MadeOf {
            base: side("6.1"),
            new: side("6.12"),
            domain: "dom0".into(),
            args: vec!["--profile=check".into()],
            scenario: "schema = 1".into(),
            tracer: digest(&std::env::current_exe().unwrap()).unwrap(),
        };
        made_of.claim(&folder).unwrap();
        made_of.claim(&folder).unwrap();
        let refused = |change: fn(&mut MadeOf)| {
            let mut other = made_of.clone();
            change(&mut other);
            other.claim(&folder).unwrap_err().to_string()
        };
        let said = refused(|other| other.new.build = "6.1 3 2".into());
        assert!(
            said.contains("another build of the new kernel: name"),
            "{said}"
        );
        let said = refused(|other| {
            other.base.machine.xen = Xen::V4_20;
            other.args.clear();
        });
        assert!(
            said.contains("another machine of the base, list of arguments"),
            "{said}"
        );
        let said = refused(|other| other.tracer.clear());
        assert!(said.contains("another build of the tracer: name"), "{said}");
        fs::write(folder.join(FILE), "{").unwrap();
        assert!(refused(|_| ()).contains("damaged"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
