//! `tracer`: where the latency of disk and network I/O goes, on Linux and on Xen.
//!
//! Data flows one way: scenario -> probe -> (agent) -> span -> analysis -> report. Everything after
//! `probe` works on a recording.

pub mod agent;
pub mod analysis;
pub mod baseline;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod datapath;
pub mod history;
pub mod load;
pub mod platform;
pub mod probe;
pub mod report;
pub mod resource;
pub mod run;
pub mod saved;
pub mod scenario;
pub mod span;
pub mod toml_file;
