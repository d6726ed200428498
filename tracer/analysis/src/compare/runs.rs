//! The runs of a side.

use crate::{breakdown::Breakdown, compare::untraced::Untraced};

/// Breakdowns of one kind, one a run, and what these runs could not trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs<'r> {
    pub(crate) breakdowns: &'r [&'r Breakdown],
    pub(crate) untraced: &'r Untraced,
}
