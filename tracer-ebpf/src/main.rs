//! tracer's kernel side. Each file is one kernel subsystem; each program is one trace point.
//!
//! A request in flight has one [`slots::Slot`]; programs stamp it, and it is emitted once, as one
//! [`tracer_common::record::Record`], when the request leaves the domain.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod aggregate;
mod blkback;
mod blkback_discard;
mod blkfront;
mod block;
mod block_merge;
mod cpu;
mod emit;
mod evtchn;
mod flush;
mod irq;
mod kernel;
mod member;
mod napi;
mod net_forward;
mod net_packet;
mod net_rx;
mod net_tx;
mod netback;
mod netfront;
mod preempt;
mod sched;
mod slots;
mod steal;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel lets only GPL-compatible programs call the tracing helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
