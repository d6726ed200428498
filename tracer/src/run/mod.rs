//! One execution of a scenario, saved as one directory.

pub mod analyse;
pub mod directory;
pub mod drive;
mod growth;
mod interrupts;
mod request;
mod workload;

pub use analyse::analyse;
pub use directory::RunDirectory;
pub use drive::{Options, drive};
