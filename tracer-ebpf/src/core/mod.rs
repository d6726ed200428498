//! What every program builds on: the kernel's objects, the slots of requests in flight, what a CPU is doing, and the
//! end of a request. A file uses those named before it.

pub mod kernel;
pub mod member;
pub mod settings;

pub mod counters;
pub mod slots;

pub mod cpu;

pub mod followed;
pub mod operation;

pub mod aggregate;
pub mod emit;

pub mod preempt;
pub mod steal;
