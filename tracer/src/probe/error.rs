//! Why nothing was attached.

use tracer_analysis::datapath::DATAPATHS;
use tracer_common::settings::MAX_DEVICES;

/// Why nothing was attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The scenario names a datapath that does not exist.
    #[error("there is no datapath {0}; known: {known}", known = names())]
    NoDatapath(String),
    /// A datapath's required probe has no binding.
    #[error("kernel {kernel} cannot trace {datapaths}: nothing to attach for `{role}`: {why}")]
    Required {
        /// The kernel's release.
        kernel: String,
        /// The probe.
        role: String,
        /// The reasons.
        why: String,
        /// The datapaths that need it.
        datapaths: String,
    },
    /// A size that cannot be.
    #[error("{0}")]
    Size(String),
    /// More devices than fit.
    #[error("{0} block devices are asked for; at most {MAX_DEVICES} can be followed at once")]
    Devices(usize),
    /// The kernel refused the object or one of its maps.
    #[error("the kernel refused tracer's eBPF object: {0}")]
    Load(String),
}

fn names() -> String {
    DATAPATHS
        .iter()
        .map(|path| path.name)
        .collect::<Vec<_>>()
        .join(", ")
}
