//! The paper's cases, from the files of its scenarios: each with what it measures, and each of its loads.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use toml::Table;
use tracer_analysis::scenario::{Changes, Scenario};

/// The profile that makes a run short: it is no case.
const QUICK: &str = "quick";

/// A scenario with some of its profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) scenario: PathBuf,
    /// What its device is: the file's name, such as `disk-vbd`.
    pub(super) stem: String,
    /// One that measures something else, one that is a load; neither need be.
    pub(super) profiles: Vec<String>,
    /// The scenario's Dom0 needs as many virtual CPUs.
    pub(super) dom0_vcpus: Option<u32>,
}

/// A part of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Part {
    /// Figures 6 to 9, tables 2 and 3
    Disk,
    /// Figure 12, table 4
    Net,
}

impl Case {
    /// The name of its run's folder.
    pub(super) fn name(&self) -> String {
        let profiles = self.profiles.iter();
        let words = [self.stem.clone()].into_iter().chain(profiles.cloned());
        let words: Vec<String> = words.collect();
        if self.profiles.is_empty() {
            format!("{}-idle", self.stem)
        } else {
            words.join("-")
        }
    }

    /// Whether it runs without Xen.
    pub(super) fn is_native(&self) -> bool {
        self.stem.ends_with("-native")
    }

    pub(super) fn is_of(&self, part: Part) -> bool {
        let class = match part {
            Part::Disk => "disk-",
            Part::Net => "net-",
        };
        self.stem.starts_with(class)
    }
}

/// The cases of all scenarios in a folder, those without Xen first, so that one machine is booted after the
/// other.
pub(super) fn of_folder(folder: &Path) -> Result<Vec<Case>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("{} could not be read", folder.display()))?;
    let mut cases = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("{}", folder.display()))?
            .path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            cases.extend(of_file(&path)?);
        }
    }
    if cases.is_empty() {
        bail!("{} has no scenarios", folder.display());
    }
    // Within a scenario the order is its own.
    cases.sort_by_key(|case| (!case.is_native(), case.stem.clone()));
    Ok(cases)
}

/// The cases of one file; none if it is no scenario. One that the tracer would refuse is an error before hours of work.
fn of_file(path: &Path) -> Result<Vec<Case>> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("{} could not be read", path.display()))?;
    let table: Table = text
        .parse()
        .with_context(|| format!("{} is no TOML", path.display()))?;
    if !table.contains_key("workload") {
        return Ok(Vec::new());
    }
    let (scenario, _) = Scenario::parse(&text, &path.display().to_string(), Changes::default())?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let (measured, loads) = profiles(&scenario);
    let mut cases = Vec::new();
    for measured in std::iter::once(None).chain(measured.into_iter().map(Some)) {
        for load in std::iter::once(None).chain(loads.iter().cloned().map(Some)) {
            cases.push(Case {
                scenario: path.to_owned(),
                stem: stem.clone().into_owned(),
                profiles: measured.clone().into_iter().chain(load).collect(),
                dom0_vcpus: dom0_vcpus(&scenario),
            });
        }
    }
    Ok(cases)
}

/// Names of the profiles that change what is measured, and of those that are a load beside it.
fn profiles(scenario: &Scenario) -> (Vec<String>, Vec<String>) {
    let profiles = scenario.profile.iter();
    let cases = profiles.filter(|(name, _)| *name != QUICK);
    let (loads, measured): (Vec<_>, Vec<_>) =
        cases.partition(|(_, profile)| profile.contains_key("background"));
    let name = |(name, _): (&String, &Table)| name.clone();
    (
        measured.into_iter().map(name).collect(),
        loads.into_iter().map(name).collect(),
    )
}

fn dom0_vcpus(scenario: &Scenario) -> Option<u32> {
    let mut domains = scenario.domain.iter();
    domains.find(|domain| domain.name == "dom0")?.vcpus
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Vec<Case> {
        of_folder(&crate::workspace::root().join("scenarios/paper")).unwrap()
    }

    #[test]
    fn shipped_scenarios_have_the_papers_cases() {
        let names: Vec<String> = shipped().iter().map(Case::name).collect();
        let of = |stem: &str| names.iter().filter(|name| name.starts_with(stem)).count();
        for (stem, count) in [
            ("disk-native", 2),
            ("disk-dom0", 5),
            ("disk-passthrough", 5),
            ("disk-vbd", 5),
            ("net-native", 3),
            ("net-vif", 6),
            ("net-passthrough", 6),
        ] {
            assert_eq!(of(stem), count, "{stem}: {names:?}");
        }
        for name in ["disk-vbd-idle", "disk-vbd-cpu-both", "net-vif-receive-io"] {
            assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
        }
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn cases_without_xen_come_first() {
        let cases = shipped();
        let first_xen = cases.iter().position(|case| !case.is_native()).unwrap();
        assert!(cases[first_xen..].iter().all(|case| !case.is_native()));
        assert!(cases.iter().any(|case| case.is_of(Part::Net)));
        assert_eq!(cases[first_xen].dom0_vcpus, Some(2));
    }

    #[test]
    fn what_is_no_scenario_has_no_cases() {
        let folder = std::env::temp_dir().join(format!("xtask-cases-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("published.toml"), "schema = 1\n").unwrap();
        let error = of_folder(&folder).unwrap_err().to_string();
        assert!(error.contains("has no scenarios"), "{error}");
        fs::write(
            folder.join("own.toml"),
            r#"
                schema = 1
                name = "own"
                [[domain]]
                name = "native"
                [workload]
                kind = "cpu"
                duration = "1s"
                [probes]
                datapaths = ["disk/native"]
                [profile.quick.run]
                [profile.rr.workload]
                [[profile.io.background]]
            "#,
        )
        .unwrap();
        let names: Vec<String> = of_folder(&folder).unwrap().iter().map(Case::name).collect();
        assert_eq!(names, ["own-idle", "own-io", "own-rr", "own-rr-io"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
