//! What the benchmark reads of a run's report.
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tracer_analysis as analysis;

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
    pub(super) fn of(report: &analysis::Report) -> Result<Self> {
        ensure!(!report.breakdowns.is_empty(), "the report has no breakdown");
        Ok(Self {
            breakdowns: report.breakdowns.iter().map(Breakdown::of).collect(),
        })
    }
}

impl Breakdown {
    fn of(breakdown: &analysis::Breakdown) -> Self {
        let requests = breakdown.total.count as f64;
        let stage = |name: String, figures: &analysis::breakdown::Figures| Stage {
            name,
            p50_ns: figures.p50_ns,
            mean_ns: figures.sum_ns as f64 / requests,
        };
        let stages = breakdown.stages.iter();
        let stages = stages.map(|of| stage(of.name(), &of.figures));
        let total = std::iter::once(stage("total".into(), &breakdown.total));
        Self {
            title: breakdown.title(),
            stages: total.chain(stages).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use analysis::breakdown::Figures as Of;
    use analysis::datapath::Component;

    use super::*;

    /// A report of one breakdown, of four requests, one of which has a stage.
    fn report() -> analysis::Report {
        let figures = |count, p50_ns, sum_ns| Of {
            count,
            p50_ns,
            sum_ns,
            ..Of::default()
        };
        let stage = analysis::StageFigures {
            from: "a".into(),
            to: "b".into(),
            letters: None,
            component: Component::Device,
            meaning: None,
            figures: figures(1, 20, 20),
            error_ns: None,
            histogram: Vec::new(),
            iterations: Vec::new(),
        };
        let breakdown = analysis::Breakdown {
            domain: "B".into(),
            datapath: "disk/vbd".into(),
            device: "xvda".into(),
            operation: "read".into(),
            approximate: false,
            total: figures(4, 10, 60),
            histogram: Vec::new(),
            stages: vec![stage],
            components: Vec::new(),
            iterations: Vec::new(),
            flags: BTreeMap::new(),
            bytes: 0,
            by_interrupt: 0,
            interrupts: 0,
            by_irq: BTreeMap::new(),
            slowest: Vec::new(),
            jitter: Vec::new(),
        };
        analysis::Report {
            breakdowns: vec![breakdown],
            ..analysis::Report::default()
        }
    }

    #[test]
    fn means_are_over_all_requests() {
        let figures = Figures::of(&report()).unwrap();
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
    fn no_breakdown_is_an_error() {
        assert!(Figures::of(&analysis::Report::default()).is_err());
    }
}
