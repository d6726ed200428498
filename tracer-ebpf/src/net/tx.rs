//! Transmit: socket call -> stack -> qdisc -> driver -> completion.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, map},
    maps::Array,
    programs::{BtfTracePointContext, FEntryContext},
};
use tracer_common::{
    counter::Counter,
    point::{Kind, Point},
    record::{Record, flag},
    settings::MAX_SEND_CALLS,
};

use crate::{
    core::{
        counters::count,
        cpu::{self, Cpu, Level, softirq},
        emit,
        kernel::{Object, key_of, now},
        member,
        settings::setting,
        slots::{self, Slot, state},
    },
    net::packet,
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
        if setting!(send_calls[index]) == number {
            return true;
        }
    }
    false
}

#[inline(always)]
fn begin_call() {
    let tid = cpu::thread();
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
        let tid = cpu::thread();
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

/// The packet is queued on a device, by a task's call or by something else.
#[inline(always)]
pub fn begin(skb: Object, cpu: &mut Cpu) {
    let Some(packet) = packet::outgoing(skb) else {
        return;
    };
    let Some((slot, handle)) = slots::claim(key_of(skb), Kind::NetTx) else {
        return;
    };
    packet.describe(&mut slot.record);
    slot.record.at[QUEUE] = now();
    cpu.sending = handle;
    let tid = cpu::thread();
    if cpu.level() == Level::Task
        && let Some(call) = call_of(tid)
        && call.tid == tid
    {
        slot.record.tid = tid;
        slot.record.at[SEND] = call.at;
    } else {
        slot.record.flags |= flag::DEFERRED;
    }
}

/// Whether a slot holds a packet that the domain sends.
#[inline(always)]
pub fn holds(slot: &Slot) -> bool {
    slot.record.kind == Kind::NetTx as u8
}

/// A device on top of another (bridge, VLAN) has queued it: its way began there.
#[inline(always)]
pub fn queued_again(slot: &Slot) -> bool {
    slot.state == state::FLIGHT && slot.record.at[XMIT_DONE] == 0
}

/// The queueing discipline hands it out.
#[inline(always)]
pub fn dequeued(record: &mut Record) {
    record.at[DEQUEUE] = now();
}

/// The driver's transmit function is called. Of the pieces of one packet, the first counts.
#[inline(always)]
pub fn xmit(record: &mut Record, is_cut: bool) {
    if record.at[XMIT] == 0 || !is_cut {
        record.at[XMIT] = now();
    }
}

/// The driver's transmit function has returned.
#[inline(always)]
pub fn xmit_done(slot: &mut Slot, code: i32, is_cut: bool) {
    if slot.record.at[XMIT] == 0 {
        return;
    }
    // NETDEV_TX_BUSY and the like: the queueing discipline tries again.
    if code != 0 {
        slot.record.flags |= flag::REQUEUED;
        return;
    }
    slot.record.at[XMIT_DONE] = now();
    if slot.state == state::HANDED || is_cut {
        emit::net_tx(slot);
    }
}

/// Whether this is the slot of a packet that was cut, and whose memory something else has now: none of its pieces was
/// seen to be sent by the same CPU right after (a queueing discipline cuts before it queues), and it is given up.
#[inline(always)]
pub fn was_cut(slot: &mut Slot) -> bool {
    let was_cut = slot.state == state::CUT;
    if was_cut {
        count(Counter::Abandoned);
        slots::free(slot);
    }
    was_cut
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

/// The packet's memory is given back.
#[inline(always)]
pub fn freed(slot: &mut Slot, flags: u16, cpu: &Cpu) {
    let record = &mut slot.record;
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

#[inline(always)]
fn sent_again(socket: Object) {
    let peer_port = member::SockPeerPort.read(socket);
    if packet::follows(member::SockPort.read(socket), u16::from_be(peer_port)) {
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
