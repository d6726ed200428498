//! xen-netfront: a guest's packets on their ring.

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use tracer_common::point::{Kind, Point};

use crate::core::{cpu, kernel::now, slots};

const XMIT: usize = Kind::NetTx.index_of(Point::NetXmit);
const NOTIFY: usize = Kind::NetTx.index_of(Point::NetfrontNotify);
const XMIT_DONE: usize = Kind::NetTx.index_of(Point::NetXmitDone);

/// `notify_remote_via_irq(irq)`, where it is called from a driver's transmit function.
#[fentry(function = "notify_remote_via_irq")]
pub fn netfront_notify(_ctx: FEntryContext) -> i32 {
    let Some(cpu) = cpu::this() else { return 0 };
    if let Some(slot) = slots::of(cpu.sending)
        && slot.record.kind == Kind::NetTx as u8
        && slot.record.at[XMIT] != 0
        && slot.record.at[XMIT_DONE] == 0
    {
        slot.record.at[NOTIFY] = now();
    }
    0
}
