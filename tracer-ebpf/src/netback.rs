//! xen-netback: a guest's packets from its ring, and to it.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};

use crate::{
    cpu,
    kernel::{key_of_unknown, now},
    net_forward, slots,
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
    if skb != 0
        && let Some((slot, _)) = slots::find(key_of_unknown(skb, &mut cpu.key_base))
    {
        net_forward::to_guest(slot);
    }
    0
}
