//! One execution of a scenario, saved as one directory.

pub mod drive;
mod request;
mod traced;
mod workload;

pub use drive::{Options, drive};
