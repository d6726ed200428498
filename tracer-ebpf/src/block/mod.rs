//! The block layer: requests, how bios become these, and flushes.

pub mod operation;

mod flush;
mod merge;
mod request;
