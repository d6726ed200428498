//! `tracer agent --stdio`: one in each domain, the same binary, spoken to in frames. The local domain
//! goes through it, too.

pub mod client;
pub mod frame;
pub mod protocol;
pub mod records;
pub mod serve;
