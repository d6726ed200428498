//! Xen's event channels: what brings every interrupt of a paravirtual domain.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use crate::{cpu, kernel::now, steal};

#[inline(always)]
fn upcall_begin() -> i32 {
    if let Some(cpu) = cpu::this() {
        let now = now();
        cpu.upcall_at = now;
        steal::look(cpu, || now);
    }
    0
}

/// What comes next may be an interrupt that no event channel brings, as a passed-through device's where the hardware
/// gives it to the guest.
#[inline(always)]
fn upcall_end() -> i32 {
    if let Some(cpu) = cpu::this() {
        cpu.upcall_at = 0;
    }
    0
}

/// The upcall's handler of FIFO event channels, which Xen has since 4.4.
#[fentry(function = "evtchn_fifo_handle_events")]
pub fn evtchn_upcall_fifo(_ctx: FEntryContext) -> i32 {
    upcall_begin()
}

#[fexit(function = "evtchn_fifo_handle_events")]
pub fn evtchn_end_fifo(_ctx: FExitContext) -> i32 {
    upcall_end()
}

/// The same of 2-level event channels, which a host may still be told to use.
#[fentry(function = "evtchn_2l_handle_events")]
pub fn evtchn_upcall_2l(_ctx: FEntryContext) -> i32 {
    upcall_begin()
}

#[fexit(function = "evtchn_2l_handle_events")]
pub fn evtchn_end_2l(_ctx: FExitContext) -> i32 {
    upcall_end()
}
