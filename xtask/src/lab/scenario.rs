//! What the lab must know of a scenario before the tracer reads it: which domains have a part in it, and which
//! loads are too much for an emulated machine.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use toml::{Table, Value};

/// Packets a second: at the peer host's full speed the emulated CPUs do nothing but drop packets, and a stream beside
/// them moves no byte for seconds.
const FLOOD_RATE: u32 = 3000;

/// A scenario's file, and the profiles of it that the arguments of `tracer run` choose, in the order in which that lays
/// them over the rest.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    layers: Vec<Table>,
}

impl Scenario {
    /// # Errors
    /// When there is no such file. What is no scenario the tracer itself says better.
    pub(super) fn read(file: &Path, args: &[String]) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("{} could not be read", file.display()))?;
        Ok(Self::of(&text, args))
    }

    pub(super) fn of(text: &str, args: &[String]) -> Self {
        let mut table: Table = text.parse().unwrap_or_default();
        let mut profiles = match table.remove("profile") {
            Some(Value::Table(profiles)) => profiles,
            _ => Table::new(),
        };
        // One of `--profile NAME` is a word of its own.
        let names = args.iter().map(|arg| arg.trim_start_matches("--profile="));
        let chosen = names.filter_map(|name| match profiles.remove(name) {
            Some(Value::Table(profile)) => Some(profile),
            _ => None,
        });
        let mut layers = vec![table];
        layers.extend(chosen);
        Self { layers }
    }

    /// A list that profiles make longer.
    fn list(&self, key: &str) -> impl Iterator<Item = &Value> {
        let lists = self.layers.iter().filter_map(move |layer| layer.get(key));
        lists.filter_map(Value::as_array).flatten()
    }

    /// The domains that it has elsewhere than where it runs: their names in the lab.
    pub(super) fn agents(&self) -> BTreeSet<String> {
        let elsewhere = self.list("domain").filter_map(|domain| {
            let field = |name: &str| domain.get(name).and_then(Value::as_str);
            field("agent").filter(|agent| *agent != "local")?;
            field("guest").or_else(|| field("name"))
        });
        elsewhere.map(str::to_owned).collect()
    }

    /// Overrides that slow down each flood in the background that has no rate of its own.
    pub(super) fn slower_floods(&self) -> Vec<String> {
        let loads = self.list("background").enumerate();
        let floods = loads.filter(|(_, load)| {
            let kind = load.get("kind").and_then(Value::as_str);
            kind == Some("udp-flood") && load.get("rate").is_none()
        });
        floods
            .map(|(place, _)| format!("background.{place}.rate={FLOOD_RATE}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOODED: &str = r#"
        [[domain]]
        name = "dom0"
        [[domain]]
        name = "guest"
        guest = "B"
        agent = "console"
        [[background]]
        kind = "cpu"
        [[profile.io.domain]]
        name = "peer"
        agent = "socket:/x"
        [[profile.io.background]]
        kind = "udp-flood"
        [[profile.slow.background]]
        kind = "udp-flood"
        rate = 5
    "#;

    fn chosen(args: &[&str]) -> Scenario {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Scenario::of(FLOODED, &args)
    }

    #[test]
    fn domains_elsewhere_are_those_of_the_file_and_of_chosen_profiles() {
        let agents = |args| Vec::from_iter(chosen(args).agents());
        assert_eq!(agents(&[]), ["B"]);
        assert_eq!(agents(&["--profile", "io"]), ["B", "peer"]);
        assert_eq!(agents(&["--profile=io"]), ["B", "peer"]);
    }

    #[test]
    fn only_floods_without_a_rate_are_slowed_each_at_its_place() {
        let slower = |args| chosen(args).slower_floods();
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
        let none = Scenario::of("[[[", &[]);
        assert!(none.agents().is_empty() && none.slower_floods().is_empty());
    }
}
