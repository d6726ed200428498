//! `tracer`: where the latency of disk and network I/O goes, on Linux and on Xen.
//!
//! Data flows one way: scenario -> probe -> (agent) -> recording. Everything after that is
//! [`tracer_analysis`]'s.

pub mod agent;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod load;
pub mod platform;
pub mod probe;
pub mod resource;
pub mod run;
