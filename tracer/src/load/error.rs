//! What can go wrong with a load, in words that say what to do.

use std::{fmt::Display, io, time::Duration};

/// A result of this module.
pub type Result<T, E = LoadError> = std::result::Result<T, E>;

/// Why a load did not run, or did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A parameter is out of range or contradicts another.
    #[error("load parameter `{field}`: {problem}")]
    Invalid {
        /// The parameter, as it is named in the JSON.
        field: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The load would do something that must be allowed explicitly.
    #[error("refused: {0}")]
    Refused(String),
    /// The system said no.
    #[error("{action} failed: {source}{}", advice_text(.advice))]
    Io {
        /// What was being done, to what.
        action: String,
        /// The system's answer.
        source: io::Error,
        /// What to do about it; may be empty.
        advice: String,
    },
    /// The other end, the target or the program did not do what it should have done.
    #[error("{0}")]
    Failed(String),
    /// The load is still running.
    #[error("{what} did not finish within {after:?}")]
    Timeout {
        /// What was awaited.
        what: String,
        /// For how long.
        after: Duration,
    },
    /// The process of the load ended without a result.
    #[error("the load process (pid {pid}) ended with {status}: {message}")]
    Child {
        /// Its process id.
        pid: u32,
        /// How it ended.
        status: String,
        /// What it wrote on stderr.
        message: String,
    },
}

fn advice_text(advice: &str) -> String {
    if advice.is_empty() {
        String::new()
    } else {
        format!("; {advice}")
    }
}

impl LoadError {
    pub(crate) fn io(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::io_advice(action, source, "")
    }

    pub(crate) fn io_advice(
        action: impl Into<String>,
        source: impl Into<io::Error>,
        advice: impl Into<String>,
    ) -> Self {
        Self::Io {
            action: action.into(),
            source: source.into(),
            advice: advice.into(),
        }
    }

    pub(crate) fn invalid(field: &'static str, problem: impl Display) -> Self {
        Self::Invalid {
            field,
            problem: problem.to_string(),
        }
    }
}
