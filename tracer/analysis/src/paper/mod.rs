//! The figures and tables of Watanabe et al., "Performance evaluation of PCI Passthrough of Xen", from runs
//! of `scenarios/paper`, and what the breakdowns say of the questions that it left open.

pub mod case;
mod error;
pub mod figure;
pub mod figure_key;
mod published;
pub mod question;
pub mod runs;
mod samples;
pub mod statistics;

pub use error::PaperError;
pub use published::Published;

use crate::{
    compare::Input,
    paper::{figure::Figure, figure_key::FigureKey, question::Question, runs::Runs},
};

/// All that the page has.
#[derive(Clone, Debug)]
pub struct Paper {
    /// The runs.
    pub runs: Runs,
    /// The figures and tables.
    pub figures: Vec<Figure>,
    /// The open questions.
    pub questions: Vec<Question>,
    /// The paper's own values.
    pub published: Published,
}

impl Paper {
    /// Draws everything up.
    ///
    /// # Errors
    /// If a run is none of the paper's, or two are the same case.
    pub fn new(inputs: Vec<Input>, published: Published) -> Result<Self, PaperError> {
        let runs = Runs::new(inputs)?;
        Ok(Self {
            figures: FigureKey::ALL
                .into_iter()
                .map(|key| Figure::new(key, &runs, &published))
                .collect(),
            questions: question::all(&runs),
            runs,
            published,
        })
    }

    /// Whether the figures are of all that the runs should have measured.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.runs.iter().all(|(_, run)| run.is_whole())
    }
}

#[cfg(test)]
mod tests;
