//! What machine is this: kernel, types, tracepoints, interrupts, devices, environment.

pub mod btf;
pub mod environment;
pub mod host;
pub mod interrupts;
pub mod kernel;

pub use kernel::Kernel;
