//! The block layer: requests, how bios become these, and flushes.

mod flush;
mod merge;
mod request;
