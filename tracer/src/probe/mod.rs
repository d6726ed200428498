//! From datapath tables to attached programs: resolve bindings -> load -> attach -> drain, with every
//! loss accounted for.

pub mod attach;
pub mod drain;
pub mod plan;
pub mod snapshot;
pub mod survey;

pub use attach::{AttachError, Attached, Request};
pub use plan::{Plan, Planned, Unavailable};

/// The compiled eBPF object.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));
