//! One execution of a scenario, saved as one directory.

pub mod analyse;
mod clocks;
pub mod directory;
mod domain;
pub mod drive;
mod fold;
mod growth;
mod interrupts;
mod joined;
mod packets;
mod received;
mod recording;
mod request;
mod traced;
mod workload;

pub use analyse::analyse;
pub use directory::RunDirectory;
pub use drive::{Options, drive};
