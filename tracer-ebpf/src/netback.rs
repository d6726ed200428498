//! xen-netback: a guest's packets from its ring, and to it.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, kprobe, kretprobe},
    programs::{FEntryContext, ProbeContext, RetProbeContext},
};

use crate::{
    cpu::{self, Cpu, Level},
    kernel::{key_of_unknown, now},
    net_forward, slots,
};

#[inline(always)]
fn current_tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

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
    let tid = current_tid();
    if cpu.netback_tid != tid {
        cpu.netback_tid = tid;
        cpu.netback_notified_at = 0;
    }
    if let Some((slot, _)) = slots::find(key_of_unknown(skb, &mut cpu.key_base)) {
        net_forward::to_guest(slot);
    }
    0
}

/// `notify_remote_via_irq(irq)`, where the thread calls it that copies packets to a guest: it does so once
/// it has put a number of them on the ring, and gives their memory back after it.
#[fentry(function = "notify_remote_via_irq")]
pub fn netback_notify(_ctx: FEntryContext) -> i32 {
    if let Some(cpu) = cpu::this()
        && is_copying(cpu)
    {
        cpu.netback_notified_at = now();
    }
    0
}

/// Whether the thread that runs is the one that last took a packet to be copied on this CPU.
#[inline(always)]
fn is_copying(cpu: &Cpu) -> bool {
    cpu.level() == Level::Task && cpu.netback_tid != 0 && cpu.netback_tid == current_tid()
}

/// When the thread that runs told its guest of the packet that it took at `taken_at`; 0 if it did not
/// need to, or another thread came between.
#[inline(always)]
pub fn notified_after(cpu: &Cpu, taken_at: u64) -> u64 {
    if is_copying(cpu) && cpu.netback_notified_at >= taken_at {
        cpu.netback_notified_at
    } else {
        0
    }
}
