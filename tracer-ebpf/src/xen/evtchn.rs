//! Xen's event channels: what brings every interrupt of a paravirtual domain.

use aya_ebpf::{macros::fentry, programs::FEntryContext};

use crate::core::{cpu, kernel::now, steal};

#[inline(always)]
fn upcall() -> i32 {
    if let Some(cpu) = cpu::this() {
        let now = now();
        cpu.upcall_at = now;
        steal::look(cpu, || now);
    }
    0
}

/// The upcall's handler of FIFO event channels, which Xen has since 4.4.
#[fentry(function = "evtchn_fifo_handle_events")]
pub fn evtchn_upcall_fifo(_ctx: FEntryContext) -> i32 {
    upcall()
}

/// The same of 2-level event channels, which a host may still be told to use.
#[fentry(function = "evtchn_2l_handle_events")]
pub fn evtchn_upcall_2l(_ctx: FEntryContext) -> i32 {
    upcall()
}
