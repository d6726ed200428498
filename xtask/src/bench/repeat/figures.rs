//! What the benchmark reads of a run's report.
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A run's breakdowns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) breakdowns: Vec<Breakdown>,
}

/// The stages of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Breakdown {
    /// Datapath, domain, device and operation.
    pub(super) title: String,
    /// The total first.
    pub(super) stages: Vec<Stage>,
}

/// A stage's figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stage {
    pub(super) name: String,
    /// Of the requests that have it.
    pub(super) p50_ns: u64,
    /// Over all requests, one without it counting as zero: these add up.
    pub(super) mean_ns: f64,
}

impl Figures {
    /// Reads a report.
    ///
    /// # Errors
    /// When it has no breakdown.
    pub(super) fn of(report: &Value) -> Result<Self> {
        let breakdowns = report["breakdowns"].as_array();
        let breakdowns = breakdowns.filter(|breakdowns| !breakdowns.is_empty());
        let breakdowns = breakdowns.context("the report has no breakdown")?.iter();
        let breakdowns = breakdowns.map(|breakdown| {
            Breakdown::of(breakdown).context("a breakdown of the report lacks a figure")
        });
        Ok(Self {
            breakdowns: breakdowns.collect::<Result<_>>()?,
        })
    }
}

impl Breakdown {
    fn of(breakdown: &Value) -> Option<Self> {
        let title = ["datapath", "domain", "device", "operation"];
        let title: Option<Vec<&str>> = title
            .map(|key| breakdown[key].as_str())
            .into_iter()
            .collect();
        let requests = breakdown["total"]["count"].as_f64()?;
        let stage = |name: String, figures: &Value| {
            Some(Stage {
                name,
                p50_ns: figures["p50_ns"].as_u64()?,
                mean_ns: figures["sum_ns"].as_f64()? / requests,
            })
        };
        let stages = breakdown["stages"].as_array()?.iter();
        let stages = stages.map(|of| {
            let name = format!("{}..{}", of["from"].as_str()?, of["to"].as_str()?);
            stage(name, of)
        });
        let total = std::iter::once(stage("total".into(), &breakdown["total"]));
        Some(Self {
            title: title?.join(" · "),
            stages: total.chain(stages).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn means_are_over_all_requests() {
        let breakdown = json!({
            "datapath": "disk/vbd", "domain": "B", "device": "xvda", "operation": "read",
            "total": {"count": 4, "p50_ns": 10, "sum_ns": 60},
            "stages": [{"from": "a", "to": "b", "count": 1, "p50_ns": 20, "sum_ns": 20}],
        });
        let figures = Figures::of(&json!({"breakdowns": [breakdown]})).unwrap();
        let [breakdown] = figures.breakdowns.as_slice() else {
            panic!("{figures:?}");
        };
        assert_eq!(breakdown.title, "disk/vbd · B · xvda · read");
        let stages: Vec<_> = breakdown
            .stages
            .iter()
            .map(|stage| (&*stage.name, stage.p50_ns, stage.mean_ns))
            .collect();
        assert_eq!(stages, [("total", 10, 15.0), ("a..b", 20, 5.0)]);
    }

    #[test]
    fn no_breakdown_and_one_without_figures_are_errors() {
        assert!(Figures::of(&json!({"breakdowns": []})).is_err());
        assert!(Figures::of(&json!({"breakdowns": [{"datapath": "disk/vbd"}]})).is_err());
    }
}
