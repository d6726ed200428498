//! What machine is this: kernel, types, tracepoints, interrupts, devices, environment, guests.

pub mod btf;
#[cfg(test)]
pub(crate) mod btf_blob;
pub mod environment;
pub mod guest;
pub mod host;
pub mod interrupts;
pub mod kernel;
pub mod layout;
pub mod program;
pub mod symbols;

pub use kernel::Kernel;
