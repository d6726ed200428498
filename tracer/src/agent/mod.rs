//! `tracer agent`: one in each domain, the same binary, spoken to in frames. The local domain goes
//! through it, too.

pub mod client;
mod complaints;
pub mod frame;
pub mod greeting;
mod output;
pub mod patient;
mod printable;
pub mod protocol;
pub mod records;
pub mod serve;
pub mod tracing;
pub mod transport;
