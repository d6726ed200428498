//! What the runs say: a table for each breakdown, and whether the busy host's differ.
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};
use tracer_analysis::check::{self, Status};

use super::Host;
use super::figures::Figures;
use crate::bench::Findings;
use crate::bench::goal::Goal;
use crate::bench::statistics::{mean, variation_percent};
use crate::shell;

/// The baseline's name in the folder of the runs.
const BASELINE: &str = "idle";

/// All runs' figures.
#[derive(Debug)]
pub(super) struct Results {
    is_virtual: bool,
    idle: Vec<Figures>,
    busy: Vec<Figures>,
    /// What `tracer check` says of the busy host's runs against the idle one's.
    check: Option<Check>,
}

/// How many figures were held against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Check {
    tests: usize,
    regressed: usize,
    improved: usize,
    undecided: usize,
}

/// A stage's figures over the runs of one host that have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Spread {
    runs: usize,
    /// The smallest and the largest of the runs' medians.
    p50_ns: (u64, u64),
    /// Of the runs' means.
    mean_ns: f64,
    /// Their coefficient of variation: the standard deviation's share of the mean.
    variation_percent: Option<f64>,
}

/// A stage's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Line {
    stage: String,
    idle: Option<Spread>,
    busy: Option<Spread>,
}

impl Results {
    pub(super) const fn new(is_virtual: bool) -> Self {
        Self {
            is_virtual,
            idle: Vec::new(),
            busy: Vec::new(),
            check: None,
        }
    }

    pub(super) fn add(&mut self, host: Host, figures: Figures) {
        match host {
            Host::Idle => self.idle.push(figures),
            Host::Busy => self.busy.push(figures),
        }
    }

    /// Has the tracer hold the busy host's runs against the idle one's.
    ///
    /// # Errors
    /// Also when it finds them not comparable.
    pub(super) fn check(
        &mut self,
        tracer: &Path,
        folder: &Path,
        idle: &[PathBuf],
        busy: &[PathBuf],
    ) -> Result<()> {
        let mut save = shell::command(tracer);
        save.args(["baseline", "save", "--replace", "--name", BASELINE]);
        save.arg("--store").arg(folder).args(idle);
        shell::run(save.stdout(Stdio::null()))?;
        let mut check = shell::command(tracer);
        check.arg("check").args(busy);
        check.args(["--format", "json", "--baseline", BASELINE, "--store"]);
        let output = check.arg(folder).output();
        let output = output.context("the tracer could not be started")?;
        if !matches!(output.status.code(), Some(0 | 1)) {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("the runs cannot be checked: {}", why.trim_end());
        }
        let document: check::Check =
            serde_json::from_slice(&output.stdout).context("the check cannot be read")?;
        let statuses = document.tests().map(|(_, _, test)| test.status);
        self.check = Some(Check::of(statuses));
        Ok(())
    }

    fn of(&self, host: Host) -> &[Figures] {
        match host {
            Host::Idle => &self.idle,
            Host::Busy => &self.busy,
        }
    }

    /// The runs of a host that have a breakdown's stage: their medians and means.
    fn spread(&self, host: Host, title: &str, stage: &str) -> Option<Spread> {
        let breakdowns = self.of(host).iter().flat_map(|run| &run.breakdowns);
        let stages = breakdowns
            .filter(|breakdown| breakdown.title == title)
            .flat_map(|breakdown| &breakdown.stages)
            .filter(|of| of.name == stage);
        let (medians, means): (Vec<u64>, Vec<f64>) =
            stages.map(|of| (of.p50_ns, of.mean_ns)).unzip();
        Some(Spread {
            runs: means.len(),
            p50_ns: (*medians.iter().min()?, *medians.iter().max()?),
            mean_ns: mean(&means)?,
            variation_percent: variation_percent(&means),
        })
    }

    /// Each breakdown's lines, in the order in which stages first appear.
    fn lines(&self) -> Vec<(String, Vec<Line>)> {
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let runs = self.idle.iter().chain(&self.busy);
        for breakdown in runs.flat_map(|run| &run.breakdowns) {
            let known = names.entry(&breakdown.title).or_default();
            for stage in &breakdown.stages {
                if !known.contains(&&*stage.name) {
                    known.push(&stage.name);
                }
            }
        }
        let lines = |(title, stages): (&str, Vec<&str>)| {
            let line = |stage: &str| Line {
                stage: stage.to_owned(),
                idle: self.spread(Host::Idle, title, stage),
                busy: self.spread(Host::Busy, title, stage),
            };
            (title.to_owned(), stages.into_iter().map(line).collect())
        };
        names.into_iter().map(lines).collect()
    }
}

impl Check {
    /// Of what each test says.
    fn of(tests: impl IntoIterator<Item = Status>) -> Self {
        let tests: Vec<Status> = tests.into_iter().collect();
        let count = |status| tests.iter().filter(|test| **test == status).count();
        Self {
            tests: tests.len(),
            regressed: count(Status::Regressed),
            improved: count(Status::Improved),
            undecided: count(Status::Undecided),
        }
    }
}

impl Findings for Results {
    /// That none of the busy host's figures is another one, in virtual time; in real time they may be.
    fn goals(&self) -> Vec<Goal> {
        if !self.is_virtual {
            return Vec::new();
        }
        let is_decided = |check: &Check| check.undecided < check.tests;
        let differ = |check: Check| (check.regressed + check.improved) as f64;
        vec![Goal {
            text: "figures that `tracer check` finds other on the busy host than on the idle one"
                .into(),
            value: self.check.filter(is_decided).map(differ),
            limit: Some(0.0),
            decimals: 0,
        }]
    }

    fn to_json(&self) -> Result<Value> {
        let mut breakdowns = Vec::new();
        for (title, lines) in self.lines() {
            let lines = serde_json::to_value(lines).context("the results are no JSON")?;
            breakdowns.push(json!({"title": title, "stages": lines}));
        }
        let goals: Vec<Value> = self.goals().iter().map(Goal::to_json).collect();
        Ok(json!({
            "schema": "tracer.bench.repeat/1",
            "boots": self.idle.len(),
            "breakdowns": breakdowns,
            "check": serde_json::to_value(self.check).context("the check is no JSON")?,
            "goals": goals,
        }))
    }
}

/// The medians' range, as one figure where they are the same.
fn medians(spread: Option<&Spread>) -> String {
    spread.map_or_else(
        || "-".into(),
        |spread| match spread.p50_ns {
            (low, high) if low == high => low.to_string(),
            (low, high) => format!("{low} to {high}"),
        },
    )
}

/// The means', and in how many runs, if not in all.
fn means(spread: Option<&Spread>, all: usize) -> String {
    spread.map_or_else(
        || "-".into(),
        |spread| {
            let variation = spread.variation_percent;
            let variation = variation.map_or_else(String::new, |of| format!(", {of:.1}%"));
            let some = match spread.runs {
                runs if runs == all => String::new(),
                runs => format!(" ({runs} runs)"),
            };
            format!("{:.0}{variation}{some}", spread.mean_ns)
        },
    )
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [idle, busy] = Host::ALL.map(|host| self.of(host).len());
        writeln!(
            f,
            "{idle} runs on an idle host, {busy} on a busy one, of a boot each. Nanoseconds: the range of the runs'\n\
             medians; the mean of their means, over all requests, and its coefficient of variation.\n"
        )?;
        for (title, lines) in self.lines() {
            writeln!(f, "{title}\n")?;
            writeln!(f, "| stage | idle: p50 | mean, CV | busy: p50 | mean, CV |")?;
            writeln!(f, "| --- | --- | --- | --- | --- |")?;
            for line in lines {
                writeln!(
                    f,
                    "| {} | {} | {} | {} | {} |",
                    line.stage,
                    medians(line.idle.as_ref()),
                    means(line.idle.as_ref(), idle),
                    medians(line.busy.as_ref()),
                    means(line.busy.as_ref(), busy)
                )?;
            }
            writeln!(f)?;
        }
        if let Some(check) = self.check {
            writeln!(
                f,
                "tracer check, busy against idle: {} figures, {} regressed, {} improved, {} undecided",
                check.tests, check.regressed, check.improved, check.undecided
            )?;
        }
        for goal in self.goals() {
            writeln!(f, "{goal}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Breakdown, Stage};
    use super::*;

    fn figures(stages: &[(&str, u64, f64)]) -> Figures {
        let stages = stages.iter().map(|(name, p50_ns, mean_ns)| Stage {
            name: (*name).to_owned(),
            p50_ns: *p50_ns,
            mean_ns: *mean_ns,
        });
        Figures {
            breakdowns: vec![Breakdown {
                title: "disk/vbd · B".into(),
                stages: stages.collect(),
            }],
        }
    }

    fn results() -> Results {
        let mut results = Results::new(true);
        for (host, total) in [
            (Host::Idle, 90.0),
            (Host::Idle, 110.0),
            (Host::Busy, 100.0),
            (Host::Busy, 100.0),
        ] {
            results.add(host, figures(&[("total", total as u64, total)]));
        }
        results.add(
            Host::Busy,
            figures(&[("total", 100, 100.0), ("rare", 7, 0.5)]),
        );
        results.check = Some(Check::of([
            Status::NotWorse,
            Status::Undecided,
            Status::Improved,
        ]));
        results
    }

    #[test]
    fn spreads_are_over_the_runs_that_have_a_stage() {
        let results = results();
        let total = results.spread(Host::Idle, "disk/vbd · B", "total").unwrap();
        assert_eq!(
            (total.runs, total.p50_ns, total.mean_ns),
            (2, (90, 110), 100.0)
        );
        assert!((total.variation_percent.unwrap() - 14.142).abs() < 0.001);
        assert_eq!(results.spread(Host::Idle, "disk/vbd · B", "rare"), None);
        let rare = results.spread(Host::Busy, "disk/vbd · B", "rare").unwrap();
        assert_eq!((rare.runs, rare.variation_percent), (1, None));
    }

    #[test]
    fn a_figure_that_differs_misses_the_goal() {
        let mut results = results();
        assert!(!results.goals()[0].is_met());
        results.check = Some(Check::of([]));
        assert!(!results.goals()[0].is_met(), "nothing was checked");
        results.check = Some(Check {
            tests: 3,
            regressed: 0,
            improved: 0,
            undecided: 2,
        });
        assert!(results.goals()[0].is_met());
        if let Some(check) = &mut results.check {
            check.undecided = 3;
        }
        assert!(!results.goals()[0].is_met(), "nothing was decided");
        results.is_virtual = false;
        assert!(results.goals().is_empty());
    }

    #[test]
    fn tables_and_json_have_the_same_figures() {
        let results = results();
        let text = results.to_string();
        for line in [
            "| total | 90 to 110 | 100, 14.1% | 100 | 100, 0.0% |",
            "| rare | - | - | 7 | 0 (1 runs) |",
            "3 figures, 0 regressed, 1 improved, 1 undecided",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let json = results.to_json().unwrap();
        let rare = &json["breakdowns"][0]["stages"][1];
        assert_eq!(
            (&rare["stage"], &rare["idle"]),
            (&json!("rare"), &Value::Null)
        );
        assert_eq!(json["check"]["improved"], 1);
    }
}
