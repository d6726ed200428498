//! The contract between tracer's eBPF programs and its user space: what a record looks like, which
//! trace points exist, which members of kernel structs the programs read, and how losses and
//! interrupts are counted. Plain `#[repr(C)]` data; no dependency in the kernel.
#![no_std]

pub mod aggregate;
pub mod counter;
pub mod hist;
pub mod irq;
pub mod member;
pub mod point;
pub mod record;
pub mod sample;
pub mod settings;
