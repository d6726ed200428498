//! The runs, each in its case.

use std::collections::BTreeMap;

use crate::{
    compare::Input,
    paper::{case::Case, error::PaperError},
    units::percent,
};

/// A run of one of the paper's cases.
#[derive(Clone, Debug)]
pub struct Run {
    /// The run.
    pub input: Input,
}

impl Run {
    /// Whether its figures are of all that it should have measured.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.doubts().is_empty()
    }

    /// Why its figures are to be read with care.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let partial = self.input.report.partial.iter();
        let mut doubts: Vec<String> = partial
            .map(|reason| format!("partial run: {reason}"))
            .collect();
        let lost = self.input.report.lost_share();
        if lost > self.input.max_lost_share {
            doubts.push(format!("{} of its requests were lost", percent(lost)));
        }
        doubts
    }
}

/// Runs by case.
#[derive(Clone, Debug, Default)]
pub struct Runs(BTreeMap<Case, Run>);

impl Runs {
    /// Finds out which run is which.
    ///
    /// # Errors
    /// If one is none of the paper's, or two are the same case.
    pub(super) fn new(inputs: Vec<Input>) -> Result<Self, PaperError> {
        let mut runs: BTreeMap<Case, Run> = BTreeMap::new();
        for input in inputs {
            let report = &input.report;
            let case = Case::of(&report.scenario, report.changes.as_ref()).map_err(|why| {
                PaperError::NotOfPaper {
                    run: input.source.clone(),
                    why,
                }
            })?;
            if let Some(other) = runs.get(&case) {
                return Err(PaperError::Twice {
                    case: case.name(),
                    first: other.input.source.clone(),
                    second: input.source,
                });
            }
            runs.insert(case, Run { input });
        }
        Ok(Self(runs))
    }

    /// The run of a case.
    #[must_use]
    pub fn get(&self, case: Case) -> Option<&Run> {
        self.0.get(&case)
    }

    /// All, in the cases' order.
    pub fn iter(&self) -> impl Iterator<Item = (Case, &Run)> {
        self.0.iter().map(|(case, run)| (*case, run))
    }
}
