//! A recording played back: records in, spans out, and from them the report.

mod analyse;
mod clocks;
mod domain;
mod fold;
mod growth;
mod interrupts;
mod joined;
mod packets;
mod survey;

pub use analyse::analyse;
