//! What counts as a regression: the policy file. TOML in, validated types out; errors name the line, the
//! field and what is allowed, as a scenario's do.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::sample::{Kind, Metric};
use crate::{
    scenario::quantity::Time,
    toml_file::{self, Problem, TomlError},
};

/// What a run that leaves something undecided is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Undecided {
    /// No regression, as none is shown.
    #[default]
    Pass,
    /// A failure, as none is ruled out.
    Fail,
}

/// What a check is in which nothing regressed, but what would show it could not be tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CannotTell {
    /// No pass.
    #[default]
    Fail,
    /// A pass: the new kernel is known not to have these points.
    Pass,
}

/// What one run a side can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OneRun {
    /// That a total has become slower, and then in which stage: any stage may be slower for a whole run.
    #[default]
    Total,
    /// That a stage has: where runs repeat, as in virtual time.
    Stages,
}

/// The smallest effect that matters: both at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// In percent of the base.
    pub percent: Option<f64>,
    /// In time.
    pub at_least: Option<Time>,
}

/// The smallest effects that matter, by what the figure is about.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Effects {
    /// Mean and median.
    pub location: Effect,
    /// 99th percentile and longest.
    pub tail: Effect,
    /// Standard deviation and range.
    pub jitter: Effect,
}

/// What counts as a regression.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Version of the format: 1.
    pub schema: u32,
    /// How often a check of two equal kernels may fail.
    pub alpha: f64,
    /// The same with one run a side, if lower: by how much runs differ is not in such a check.
    pub alpha_one_run: f64,
    /// What one run a side can show.
    pub one_run: OneRun,
    /// Of the intervals.
    pub confidence: f64,
    /// What a run that leaves something undecided is.
    pub undecided: Undecided,
    /// What a check is in which points or datapaths of the baseline are gone, or no figure is firm.
    pub cannot_tell: CannotTell,
    /// Most requests that a run may have lost, in percent, in place of what its scenario allows.
    pub max_lost_percent: Option<f64>,
    /// The figures that are held against each other.
    pub metrics: Vec<Metric>,
    /// Datapaths that are left out.
    pub ignore_datapaths: Vec<String>,
    /// Stages that are left out, such as `blk.issue..irq.entry`, or `total`.
    pub ignore_stages: Vec<String>,
    /// A stage that has less than this of the total's mean on both sides is left out, in percent.
    pub min_share_percent: f64,
    /// The smallest effects that matter.
    pub effect: Effects,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            schema: 1,
            alpha: 0.02,
            alpha_one_run: 0.005,
            one_run: OneRun::default(),
            confidence: 0.95,
            undecided: Undecided::default(),
            cannot_tell: CannotTell::default(),
            max_lost_percent: None,
            metrics: Metric::ALL.to_vec(),
            ignore_datapaths: Vec::new(),
            ignore_stages: Vec::new(),
            min_share_percent: 1.0,
            effect: Effects::default(),
        }
    }
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, or has unknown or wrong fields.
    pub fn load(path: &Path) -> Result<Self, TomlError> {
        let (file, text) = toml_file::read(path, "policy")?;
        Self::parse(&text, &file)
    }

    /// Parses a policy.
    ///
    /// # Errors
    /// As [`Policy::load`], but for reading the file.
    pub fn parse(text: &str, file: &str) -> Result<Self, TomlError> {
        let mut policy = toml_file::parse::<Self>(text, file, Self::problem)?;
        // Reports and blame go by the order of all metrics, the mean first.
        policy.metrics.sort_unstable();
        Ok(policy)
    }

    fn problem(&self) -> Option<Problem> {
        let problem = |field: &str, message: String| {
            Some(Problem {
                field: field.into(),
                message,
            })
        };
        if self.schema != 1 {
            return problem("schema", format!("is {}; allowed: 1", self.schema));
        }
        for (field, value) in [
            ("alpha", self.alpha),
            ("alpha_one_run", self.alpha_one_run),
            ("confidence", self.confidence),
        ] {
            if !(value > 0.0 && value < 1.0) {
                return problem(field, format!("is {value}; allowed: between 0 and 1"));
            }
        }
        let lost = self
            .max_lost_percent
            .map(|value| ("max_lost_percent", value));
        let share = ("min_share_percent", self.min_share_percent);
        for (field, value) in lost.into_iter().chain([share]) {
            if !(0.0..=100.0).contains(&value) {
                return problem(field, format!("is {value}; allowed: 0 to 100"));
            }
        }
        let effects = &self.effect;
        for (field, effect) in [
            ("effect.location.percent", effects.location),
            ("effect.tail.percent", effects.tail),
            ("effect.jitter.percent", effects.jitter),
        ] {
            let value = effect.percent.unwrap_or_default();
            if !(0.0..=1e6).contains(&value) {
                return problem(field, format!("is {value}; allowed: 0 to 1000000"));
            }
        }
        if self.metrics.is_empty() {
            let names = Metric::ALL.map(Metric::name).join(", ");
            return problem("metrics", format!("is empty; allowed: some of {names}"));
        }
        let mut metrics = self.metrics.iter().enumerate();
        let twice = metrics.find(|(at, metric)| self.metrics[..*at].contains(metric));
        twice.and_then(|(at, metric)| {
            problem(
                &format!("metrics.{at}"),
                format!("{} is there twice", metric.name()),
            )
        })
    }

    /// How often a check of two equal kernels may fail; `one_run`: of which there is one run a side.
    #[must_use]
    pub const fn alpha(&self, one_run: bool) -> f64 {
        if one_run {
            self.alpha_one_run.min(self.alpha)
        } else {
            self.alpha
        }
    }

    /// The smallest effect that matters, as a share of the base and in nanoseconds.
    #[must_use]
    pub fn effect(&self, kind: Kind) -> (f64, f64) {
        let (own, percent, ns) = match kind {
            Kind::Location => (self.effect.location, 5.0, 250.0),
            Kind::Tail => (self.effect.tail, 10.0, 1_000.0),
            Kind::Jitter => (self.effect.jitter, 25.0, 1_000.0),
        };
        let at_least = own.at_least.map(|time| time.0.as_nanos() as f64);
        (
            own.percent.unwrap_or(percent) / 100.0,
            at_least.unwrap_or(ns),
        )
    }

    /// The JSON schema of policy files, for editors.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: &str = r#"schema = 1
alpha = 0.01
alpha_one_run = 0.02
one_run = "stages"
confidence = 0.99
undecided = "fail"
cannot_tell = "pass"
max_lost_percent = 2.5
metrics = ["mean", "p99", "stddev"]
ignore_datapaths = ["irq"]
ignore_stages = ["sched.waking..sched.switch"]
min_share_percent = 2
[effect.location]
percent = 3
at_least = "1us"
[effect.tail]
percent = 20
"#;

    #[test]
    fn every_key_is_read_and_what_is_not_there_has_its_default() {
        let policy = Policy::parse(WHOLE, "policy.toml").unwrap();
        assert_eq!(policy.effect(Kind::Location), (0.03, 1_000.0));
        assert_eq!(policy.effect(Kind::Tail), (0.2, 1_000.0));
        assert_eq!(policy.effect(Kind::Jitter), (0.25, 1_000.0));
        assert_eq!(policy.metrics.len(), 3);
        assert_eq!(policy.undecided, Undecided::Fail);
        assert_eq!(policy.cannot_tell, CannotTell::Pass);
        assert_eq!(policy.one_run, OneRun::Stages);
        assert_eq!(
            [false, true].map(|one_run| policy.alpha(one_run)),
            [0.01; 2]
        );
        let default = Policy::default();
        assert!(default.alpha(true) < default.alpha(false));
        assert_eq!(Policy::parse("", "p").unwrap(), Policy::default());
        let policy = Policy::parse("metrics = [\"p99\", \"mean\"]", "p").unwrap();
        assert_eq!(policy.metrics, [Metric::Mean, Metric::P99]);
    }

    #[test]
    fn errors_name_line_and_field() {
        for (text, said) in [
            ("alpha = 2", "p:1:9: alpha: is 2; allowed: between 0 and 1"),
            ("\nalpa = 0.1", "p:2:1: alpa: unknown field `alpa`"),
            ("metrics = [\"p90\"]", "unknown variant `p90`"),
            (
                "metrics = []",
                "p:1:11: metrics: is empty; allowed: some of mean",
            ),
            ("metrics = [\"max\", \"max\"]", "max is there twice"),
            (
                "[effect.tail]\npercent = -1",
                "p:2:11: effect.tail.percent: is -1",
            ),
            (
                "[effect.tail]\nat_least = \"5\"",
                "effect.tail.at_least: invalid value",
            ),
            ("schema = 2", "schema: is 2; allowed: 1"),
            ("alpha = nan", "alpha: is NaN"),
            ("alpha_one_run = 0", "p:1:17: alpha_one_run: is 0; allowed"),
            ("alpha = ", "p:1:"),
        ] {
            let error = Policy::parse(text, "p").unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC*") {
            let _ = Policy::parse(&text, "p");
        }

        #[test]
        fn a_damaged_policy_is_taken_or_refused_with_its_file(
            at in any::<prop::sample::Index>(),
            with in "\\PC{0,4}",
        ) {
            let at = at.index(WHOLE.len());
            let text = format!("{}{with}{}", &WHOLE[..at], WHOLE.get(at + 1..).unwrap_or(""));
            if let Err(error) = Policy::parse(&text, "p") {
                prop_assert!(error.to_string().starts_with("p:"), "{}", error);
            }
        }
    }
}
