//! From datapath tables to attached programs: resolve bindings -> load -> attach -> drain, with every
//! loss accounted for.

pub mod attach;
mod attacher;
pub mod drain;
mod error;
mod lacks;
mod load;
pub mod plan;
mod refusal;
pub mod snapshot;
pub mod survey;

pub use attach::Attached;
pub use error::AttachError;
pub use plan::Plan;

/// The compiled eBPF object.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));
