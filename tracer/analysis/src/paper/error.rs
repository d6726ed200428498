//! Why runs make no page.

/// Why runs make no page.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaperError {
    /// A run is none of the paper's.
    #[error("{run} is none of the paper's runs: {why}")]
    NotOfPaper {
        /// The run.
        run: String,
        /// Why.
        why: String,
    },
    /// A case came twice.
    #[error("{first} and {second} are the same case ({case}): name one of them")]
    Twice {
        /// The case.
        case: String,
        /// One run of it.
        first: String,
        /// The other.
        second: String,
    },
}
