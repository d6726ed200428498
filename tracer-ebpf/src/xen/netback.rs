//! xen-netback: a guest's packets from its ring, and to it.

use aya_ebpf::{
    macros::{fentry, kprobe, kretprobe},
    programs::{FEntryContext, ProbeContext, RetProbeContext},
};

use crate::{
    core::{
        cpu,
        kernel::{key_of_unknown, now},
        slots,
    },
    net::forward,
};

/// `xenvif_tx_action(queue, budget)`: takes packets from a guest's ring, and hands them to the stack.
#[kprobe]
pub fn netback_consume(_ctx: ProbeContext) -> u32 {
    if let Some(cpu) = cpu::this() {
        cpu.netback_at = now();
    }
    0
}

/// `xenvif_rx_dequeue(queue)` returns a packet to be copied to the guest, or none.
#[kretprobe]
pub fn netback_dequeued(ctx: RetProbeContext) -> u32 {
    let skb: u64 = ctx.ret();
    let Some(cpu) = cpu::this() else { return 0 };
    if skb == 0 {
        return 0;
    }
    let tid = cpu::thread();
    if cpu.netback_tid != tid {
        cpu.netback_tid = tid;
        cpu.netback_notified_at = 0;
    }
    if let Some((slot, _)) = slots::find(key_of_unknown(skb, &mut cpu.key_base)) {
        forward::to_guest(slot);
    }
    0
}

/// `notify_remote_via_irq(irq)`, where the thread calls it that copies packets to a guest: it does so once
/// it has put a number of them on the ring, and gives their memory back after it.
#[fentry(function = "notify_remote_via_irq")]
pub fn netback_notify(_ctx: FEntryContext) -> i32 {
    if let Some(cpu) = cpu::this()
        && cpu.copies_to_guest()
    {
        cpu.netback_notified_at = now();
    }
    0
}
