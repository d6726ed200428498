//! What the lab must know of a scenario before the tracer reads it: which domains have a part in it, and which
//! loads are too much for an emulated machine.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use tracer_analysis::scenario::types::WorkloadKind;
use tracer_analysis::scenario::{self, Changes, RunChanges};

/// Packets a second: at the peer host's full speed the emulated CPUs do nothing but drop packets, and a stream beside
/// them moves no byte for seconds.
const FLOOD_RATE: u32 = 3000;

/// A scenario as `tracer run` will have it; none: the tracer will refuse it, and says why better.
#[derive(Clone, Debug)]
pub(super) struct Scenario(Option<scenario::Scenario>);

impl Scenario {
    /// # Errors
    /// When there is no such file.
    pub(super) fn read(file: &Path, changes: &RunChanges) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("{} could not be read", file.display()))?;
        Ok(Self::of(&text, changes))
    }

    pub(super) fn of(text: &str, changes: &RunChanges) -> Self {
        let changes = Changes {
            profiles: &changes.profiles,
            overrides: &changes.overrides,
        };
        // The name is for errors only.
        let read = scenario::Scenario::parse(text, "", changes);
        Self(read.ok().map(|(scenario, _)| scenario))
    }

    /// The domains that it has elsewhere than where it runs: their names in the lab.
    pub(super) fn agents(&self) -> BTreeSet<String> {
        let domains = self.0.iter().flat_map(|scenario| &scenario.domain);
        let elsewhere = domains.filter(|domain| domain.agent != "local");
        elsewhere
            .map(|domain| domain.guest.as_ref().unwrap_or(&domain.name).clone())
            .collect()
    }

    /// Overrides that slow down each flood in the background that has no rate of its own.
    pub(super) fn slower_floods(&self) -> Vec<String> {
        let loads = self.0.iter().flat_map(|scenario| &scenario.background);
        let floods = loads
            .enumerate()
            .filter(|(_, load)| load.kind == WorkloadKind::UdpFlood && load.rate.is_none());
        floods
            .map(|(place, _)| format!("background.{place}.rate={FLOOD_RATE}"))
            .collect()
    }
}

/// How the arguments of `tracer run` change its scenario.
pub(super) fn changes(args: &[String]) -> RunChanges {
    let values = |option: &str| {
        let mut values = Vec::new();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix(option) {
                Some("") => values.extend(words.next().cloned()),
                Some(rest) => values.extend(rest.strip_prefix('=').map(str::to_owned)),
                None => {}
            }
        }
        values
    };
    RunChanges {
        profiles: values("--profile"),
        overrides: values("--set"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const FLOODED: &str = r#"
        schema = 1
        name = "flooded"
        [[domain]]
        name = "dom0"
        [[domain]]
        name = "guest"
        guest = "B"
        agent = "console"
        [workload]
        domain = "guest"
        kind = "cpu"
        duration = "1s"
        [probes]
        datapaths = ["disk/vbd"]
        [[background]]
        domain = "dom0"
        kind = "cpu"
        [[profile.io.domain]]
        name = "peer"
        agent = "unix:/x"
        [[profile.io.background]]
        domain = "peer"
        kind = "udp-flood"
        to = "10.77.0.21"
        size = 64
        [[profile.more.background]]
        domain = "dom0"
        kind = "udp-flood"
        to = "10.77.0.22"
        size = 64
        [[profile.slow.background]]
        domain = "dom0"
        kind = "udp-flood"
        to = "10.77.0.21"
        size = 64
        rate = 5
    "#;

    /// [`FLOODED`], as these arguments change it.
    pub(in super::super) fn flooded(args: &[&str]) -> Scenario {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Scenario::of(FLOODED, &changes(&args))
    }

    #[test]
    fn domains_elsewhere_are_those_of_the_file_and_of_chosen_profiles() {
        let agents = |args: &[&str]| Vec::from_iter(flooded(args).agents());
        assert_eq!(agents(&[]), ["B"]);
        assert_eq!(agents(&["--profile", "io"]), ["B", "peer"]);
        assert_eq!(agents(&["--json", "--profile=io"]), ["B", "peer"]);
        assert_eq!(agents(&["--set", "domain.guest.guest=A"]), ["A"]);
    }

    #[test]
    fn only_floods_without_a_rate_are_slowed_each_at_its_place() {
        let slower = |args: &[&str]| flooded(args).slower_floods();
        assert!(slower(&[]).is_empty());
        assert!(slower(&["--profile=slow"]).is_empty());
        assert_eq!(
            slower(&["--profile=io", "--profile=slow"]),
            ["background.1.rate=3000"]
        );
        assert_eq!(
            slower(&["--profile=slow", "--profile=io"]),
            ["background.2.rate=3000"]
        );
    }

    #[test]
    fn what_is_no_scenario_is_left_to_the_tracer() {
        let no_profile = flooded(&["--profile=none"]);
        for none in [Scenario::of("[[[", &RunChanges::default()), no_profile] {
            assert!(none.agents().is_empty() && none.slower_floods().is_empty());
        }
    }
}
