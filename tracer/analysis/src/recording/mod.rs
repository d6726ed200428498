//! What a run directory holds: its types, and its only reader and writer.

pub mod bindings;
pub mod device;
pub mod directory;
pub mod environment;
pub mod host;
pub mod load;
mod received;
pub(crate) mod records;
pub mod request;
pub mod snapshot;

pub use directory::RunDirectory;
pub use received::Received;
