//! Trace points that packets of several ways pass: which way it is decides what is stamped.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_common::record::flag;

use crate::{
    core::{
        cpu::{self, Cpu},
        emit,
        kernel::{Object, key_of},
        slots::{self, Slot, state},
    },
    net::{forward, packet, rx, tx},
};

#[btf_tracepoint(function = "net_dev_queue")]
pub fn net_queue(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    let Some(cpu) = cpu::this() else { return 0 };
    if let Some((slot, _)) = slots::find(key_of(skb))
        && !tx::was_cut(slot)
    {
        if forward::holds(slot) {
            if forward::queued_again(slot) {
                return 0;
            }
            emit::net_forward(slot);
        } else if tx::queued_again(slot) {
            return 0;
        } else {
            emit::net_tx(slot);
        }
    }
    if !forward::begin(skb, cpu) {
        cpu.sending = 0;
        tx::begin(skb, cpu);
    }
    0
}

#[btf_tracepoint(function = "qdisc_dequeue")]
pub fn qdisc_dequeue(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(3);
    let Some(cpu) = cpu::this() else { return 0 };
    if skb.is_null() {
        return 0;
    }
    cpu.sending = 0;
    if let Some((slot, handle)) = slots::find(key_of(skb)) {
        if forward::holds(slot) {
            forward::dequeued(&mut slot.record);
        } else if tx::holds(slot) {
            tx::dequeued(&mut slot.record);
        } else {
            return 0;
        }
        cpu.sending = handle;
    }
    0
}

/// The packet's slot, or that of the packet it was cut from (GSO in software).
#[inline(always)]
fn sent(skb: Object, cpu: &Cpu) -> Option<&'static mut Slot> {
    if let Some((slot, _)) = slots::find(key_of(skb)) {
        return Some(slot);
    }
    let slot = slots::of(cpu.sending)?;
    let is_sent = tx::holds(slot) || forward::holds(slot);
    let is_cut = slot.key != 0
        && is_sent
        && slot.record.flags & flag::SEGMENTED != 0
        && (slot.state == state::FLIGHT || slot.state == state::CUT);
    is_cut.then_some(slot)
}

#[btf_tracepoint(function = "net_dev_start_xmit")]
pub fn net_xmit(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    let Some(cpu) = cpu::this() else { return 0 };
    let Some(slot) = sent(skb, cpu) else {
        return 0;
    };
    let is_cut = slot.key != key_of(skb);
    if forward::holds(slot) {
        forward::xmit(&mut slot.record, is_cut);
    } else {
        tx::xmit(&mut slot.record, is_cut);
    }
    0
}

#[btf_tracepoint(function = "net_dev_xmit")]
pub fn net_xmit_done(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    let code: i32 = ctx.arg(1);
    let Some(cpu) = cpu::this() else { return 0 };
    let Some(slot) = sent(skb, cpu) else {
        return 0;
    };
    let is_cut = slot.key != key_of(skb);
    if code == 0 {
        // What this CPU sends next is no piece of it.
        cpu.sending = 0;
    }
    if forward::holds(slot) {
        forward::xmit_done(slot, code, is_cut);
    } else if tx::holds(slot) {
        tx::xmit_done(slot, code, is_cut);
    }
    0
}

#[btf_tracepoint(function = "netif_rx")]
pub fn netif_rx(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    tx::handed_over(skb);
    rx::put_in_backlog(skb);
    0
}

#[btf_tracepoint(function = "netif_receive_skb")]
pub fn netif_receive(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    let Some(cpu) = cpu::this() else { return 0 };
    emit::end_previous(cpu);
    cpu.receiving = 0;
    tx::handed_over(skb);
    rx::entered(skb, cpu);
    0
}

#[inline(always)]
fn freed(skb: Object, flags: u16) {
    let Some((slot, _)) = slots::find(key_of(skb)) else {
        return;
    };
    let Some(cpu) = cpu::this() else { return };
    if tx::was_cut(slot) {
        return;
    }
    if forward::holds(slot) {
        forward::freed(slot, flags, cpu);
    } else if tx::holds(slot) {
        tx::freed(slot, flags, cpu);
    }
}

#[btf_tracepoint(function = "consume_skb")]
pub fn net_consumed(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    if packet::has_protocol(skb) {
        freed(skb, 0);
    }
    0
}

#[btf_tracepoint(function = "kfree_skb")]
pub fn net_dropped(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    // netfront makes one packet of many, and frees the shells of the others: a dozen for each.
    if !packet::has_protocol(skb) {
        return 0;
    }
    freed(skb, flag::DROPPED);
    rx::dropped(skb);
    0
}
