//! tracer's kernel side. Each folder is one kernel subsystem; each program is one trace point.
//!
//! A request in flight has one [`core::slots::Slot`]; programs stamp it, and it is emitted once, as one
//! [`tracer_common::record::Record`], when the request leaves the domain.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod block;
mod core;
mod irq;
mod net;
mod sched;
mod xen;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &::core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel lets only GPL-compatible programs call the tracing helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
