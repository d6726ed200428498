//! Transmit: socket call -> stack -> qdisc -> driver -> completion.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{btf_tracepoint, fentry, map},
    maps::Array,
    programs::{BtfTracePointContext, FEntryContext},
};
use tracer_common::{
    counter::Counter,
    point::{Kind, Point},
    record::flag,
    settings::MAX_SEND_CALLS,
};

use crate::{
    cpu::{self, Cpu, Level, count, softirq},
    emit,
    kernel::{Object, Setting, key_of, now},
    member, net_forward, net_packet,
    slots::{self, Slot, state},
};

const SEND: usize = Kind::NetTx.index_of(Point::SockSend);
const QUEUE: usize = Kind::NetTx.index_of(Point::NetQueue);
const DEQUEUE: usize = Kind::NetTx.index_of(Point::QdiscDequeue);
const XMIT: usize = Kind::NetTx.index_of(Point::NetXmit);
const XMIT_DONE: usize = Kind::NetTx.index_of(Point::NetXmitDone);
const UPCALL: usize = Kind::NetTx.index_of(Point::EvtchnUpcall);
const IRQ: usize = Kind::NetTx.index_of(Point::IrqEntry);
const SOFTIRQ: usize = Kind::NetTx.index_of(Point::SoftirqEntry);
const COMPLETE: usize = Kind::NetTx.index_of(Point::NetTxComplete);

/// A task's call into a socket.
#[repr(C)]
#[derive(Clone, Copy)]
struct Call {
    at: u64,
    tid: u32,
    pad: u32,
}

const CALLERS: u32 = 16_384;
/// By thread id: the call that it is in.
#[map]
static CALLS: Array<Call> = Array::with_max_entries(CALLERS, 0);

/// Numbers of the system calls that send, and how many.
#[unsafe(no_mangle)]
static SEND_CALLS: [u32; MAX_SEND_CALLS] = [u32::MAX; MAX_SEND_CALLS];
#[unsafe(no_mangle)]
static SEND_CALL_COUNT: Setting = Setting::new(0);

#[inline(always)]
fn current_tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

#[inline(always)]
fn call_of(tid: u32) -> Option<&'static mut Call> {
    // SAFETY: the map outlives the program; a task writes its own entry, and one that it shares with
    // another is told apart by the thread id.
    unsafe {
        CALLS
            .get_ptr_mut(tid & (CALLERS - 1))
            .map(|call| &mut *call)
    }
}

#[inline(always)]
fn is_send(number: u32) -> bool {
    for index in 0..MAX_SEND_CALLS {
        // SAFETY: within the array; volatile, because the loader replaces it in the object.
        let call =
            unsafe { core::ptr::read_volatile((&raw const SEND_CALLS).cast::<u32>().add(index)) };
        if (index as u64) < SEND_CALL_COUNT.get() && call == number {
            return true;
        }
    }
    false
}

#[inline(always)]
fn begin_call() {
    let tid = current_tid();
    if let Some(call) = call_of(tid) {
        call.at = now();
        call.tid = tid;
    }
}

/// Any system call: one that sends begins a call, any other ends the last one.
#[btf_tracepoint(function = "sys_enter")]
pub fn sock_send(ctx: BtfTracePointContext) -> i32 {
    let number: u64 = ctx.arg(1);
    if is_send(number as u32) {
        begin_call();
    } else {
        let tid = current_tid();
        if let Some(call) = call_of(tid)
            && call.tid == tid
        {
            call.tid = 0;
        }
    }
    0
}

/// Where functions can be traced, only calls that reach TCP cost anything.
#[fentry(function = "tcp_sendmsg")]
pub fn sock_send_tcp(_ctx: FEntryContext) -> i32 {
    begin_call();
    0
}

/// As [`sock_send_tcp`].
#[fentry(function = "udp_sendmsg")]
pub fn sock_send_udp(_ctx: FEntryContext) -> i32 {
    begin_call();
    0
}

#[btf_tracepoint(function = "net_dev_queue")]
pub fn net_queue(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    let Some(cpu) = cpu::this() else { return 0 };
    let key = key_of(skb);
    if let Some((slot, _)) = slots::find(key)
        && !was_cut(slot)
    {
        if net_forward::holds(slot) {
            if net_forward::queued_again(slot) {
                return 0;
            }
            emit::net_forward(slot);
        } else if slot.state == state::FLIGHT && slot.record.at[XMIT_DONE] == 0 {
            // A device on top of another (bridge, VLAN): the packet's way began at the upper one.
            return 0;
        } else {
            emit::net_tx(slot);
        }
    }
    if net_forward::begin(skb, cpu) {
        return 0;
    }
    cpu.sending = 0;
    let Some(packet) = net_packet::outgoing(skb) else {
        return 0;
    };
    let Some((slot, handle)) = slots::claim(key, Kind::NetTx) else {
        return 0;
    };
    packet.describe(&mut slot.record);
    slot.record.at[QUEUE] = now();
    cpu.sending = handle;
    let tid = current_tid();
    if cpu.level() == Level::Task
        && let Some(call) = call_of(tid)
        && call.tid == tid
    {
        slot.record.tid = tid;
        slot.record.at[SEND] = call.at;
    } else {
        slot.record.flags |= flag::DEFERRED;
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
        if net_forward::holds(slot) {
            net_forward::dequeued(&mut slot.record);
        } else if slot.record.kind == Kind::NetTx as u8 {
            slot.record.at[DEQUEUE] = now();
        } else {
            return 0;
        }
        cpu.sending = handle;
    }
    0
}

/// Whether this is the slot of a packet that was cut, and whose memory something else has now: none of its pieces was
/// seen to be sent by the same CPU right after (a queueing discipline cuts before it queues), and it is given up.
#[inline(always)]
fn was_cut(slot: &mut Slot) -> bool {
    let was_cut = slot.state == state::CUT;
    if was_cut {
        count(Counter::Abandoned);
        slots::free(slot);
    }
    was_cut
}

/// The packet's slot, or that of the packet it was cut from (GSO in software).
#[inline(always)]
fn sent(skb: Object, cpu: &Cpu) -> Option<&'static mut Slot> {
    if let Some((slot, _)) = slots::find(key_of(skb)) {
        return Some(slot);
    }
    let slot = slots::of(cpu.sending)?;
    let is_sent = slot.record.kind == Kind::NetTx as u8 || net_forward::holds(slot);
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
    if net_forward::holds(slot) {
        net_forward::xmit(&mut slot.record, is_cut);
        return 0;
    }
    // Of the pieces of one packet, the first counts.
    if slot.record.at[XMIT] == 0 || !is_cut {
        slot.record.at[XMIT] = now();
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
    if net_forward::holds(slot) {
        net_forward::xmit_done(slot, code, is_cut);
        return 0;
    }
    if slot.record.kind != Kind::NetTx as u8 || slot.record.at[XMIT] == 0 {
        return 0;
    }
    // NETDEV_TX_BUSY and the like: the queueing discipline tries again.
    if code != 0 {
        slot.record.flags |= flag::REQUEUED;
        return 0;
    }
    slot.record.at[XMIT_DONE] = now();
    if slot.state == state::HANDED || is_cut {
        emit::net_tx(slot);
    }
    0
}

/// A software device gives the packet to its peer: no completion will come.
#[inline(always)]
pub fn handed_over(skb: Object) {
    if let Some((slot, _)) = slots::find(key_of(skb))
        && slot.record.kind == Kind::NetTx as u8
        && !was_cut(slot)
    {
        if slot.record.at[XMIT_DONE] == 0 {
            slot.state = state::HANDED;
        } else {
            emit::net_tx(slot);
        }
    }
}

#[inline(always)]
fn freed(skb: Object, flags: u16) {
    let Some((slot, _)) = slots::find(key_of(skb)) else {
        return;
    };
    let Some(cpu) = cpu::this() else { return };
    if was_cut(slot) {
        return;
    }
    if net_forward::holds(slot) {
        net_forward::freed(slot, flags, cpu);
        return;
    }
    let record = &mut slot.record;
    if record.kind != Kind::NetTx as u8 {
        return;
    }
    if record.at[XMIT] == 0 && flags == 0 {
        if record.flags & flag::SEGMENTED == 0 {
            // Something else goes on in its place, which is not followed.
            count(Counter::Abandoned);
            slots::free(slot);
        } else {
            // Cut into pieces in software: the pieces go on.
            slot.state = state::CUT;
        }
        return;
    }
    // Some drivers free what they have sent as if they dropped it (netfront).
    if record.at[XMIT_DONE] == 0 {
        record.flags |= flags;
    }
    record.at[COMPLETE] = now();
    stamp_interrupt(slot, cpu);
    emit::net_tx(slot);
}

#[inline(always)]
fn stamp_interrupt(slot: &mut Slot, cpu: &Cpu) {
    let record = &mut slot.record;
    let sent = record.at[XMIT].max(record.at[XMIT_DONE]);
    let is_net = cpu.softirq == softirq::NET_RX + 1 || cpu.softirq == softirq::NET_TX + 1;
    if cpu.level() == Level::Softirq && is_net {
        let cause = cpu.cause_now();
        // The interrupt may have come while the soft interrupt ran, and that while it sent the packet.
        if cpu.softirq_at >= sent && cause.at <= cpu.softirq_at {
            record.at[SOFTIRQ] = cpu.softirq_at;
        }
        if cause.count == 1 && cause.at >= sent {
            record.at[IRQ] = cause.at;
            record.irq = cause.irq;
            if cause.upcall_at >= sent {
                record.at[UPCALL] = cause.upcall_at;
            }
        }
    } else if cpu.serves_device() && cpu.irq_at >= sent {
        record.at[IRQ] = cpu.irq_at;
        record.irq = cpu.irq;
        if cpu.upcall_at >= sent {
            record.at[UPCALL] = cpu.upcall_at;
        }
    }
}

#[btf_tracepoint(function = "consume_skb")]
pub fn net_consumed(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    if net_packet::has_protocol(skb) {
        freed(skb, 0);
    }
    0
}

#[btf_tracepoint(function = "kfree_skb")]
pub fn net_dropped(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    // netfront makes one packet of many, and frees the shells of the others: a dozen for each.
    if !net_packet::has_protocol(skb) {
        return 0;
    }
    freed(skb, flag::DROPPED);
    crate::net_rx::dropped(skb);
    0
}

#[inline(always)]
fn sent_again(socket: Object) {
    let peer_port = member::SockPeerPort.read(socket);
    if net_packet::follows(member::SockPort.read(socket), u16::from_be(peer_port)) {
        count(Counter::Retransmitted);
    }
}

#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub fn tcp_retransmit(ctx: BtfTracePointContext) -> i32 {
    sent_again(ctx.arg(0));
    0
}

/// The same of newer kernels, which also report attempts that failed.
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub fn tcp_retransmit_result(ctx: BtfTracePointContext) -> i32 {
    let error: i32 = ctx.arg(2);
    if error == 0 {
        sent_again(ctx.arg(0));
    }
    0
}
