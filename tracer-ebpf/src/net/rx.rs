//! Receive: interrupt -> soft interrupt -> poll -> stack -> socket -> the reader wakes.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry},
    programs::{BtfTracePointContext, FEntryContext},
};
use tracer_common::{
    counter::Counter,
    point::{Kind, Point},
    record::flag,
};

use crate::{
    core::{
        counters::count,
        cpu::{self, Cpu, Level, softirq},
        emit,
        kernel::{self, Object, key_of, now},
        member,
        settings::setting,
        slots::{self, Handle, Slot, state},
    },
    net::packet::{self, UDP},
};

const RX: usize = Kind::NetRx.index_of(Point::NetifRx);
const UPCALL: usize = Kind::NetRx.index_of(Point::EvtchnUpcall);
const IRQ: usize = Kind::NetRx.index_of(Point::IrqEntry);
const SOFTIRQ: usize = Kind::NetRx.index_of(Point::SoftirqEntry);
const POLL: usize = Kind::NetRx.index_of(Point::NapiPoll);
const GRO: usize = Kind::NetRx.index_of(Point::NapiGroReceive);
const RECEIVE: usize = Kind::NetRx.index_of(Point::NetifReceive);
const READY: usize = Kind::NetRx.index_of(Point::SockReady);

/// GRO's verdicts on packets that it joined to another (`enum gro_result`).
const GRO_MERGED: i32 = 0;
const GRO_MERGED_FREE: i32 = 1;

/// A packet's key on its way in: on a software device the same packet may still be on its way out,
/// under the even key.
#[inline(always)]
pub fn key(skb: Object) -> u64 {
    key_of(skb) + 1
}

#[inline(always)]
fn begin(skb: Object) -> Option<(&'static mut Slot, Handle)> {
    if setting!(receives) == 0 {
        return None;
    }
    let packet = packet::incoming(skb)?;
    let (slot, handle) = slots::claim_after(key(skb), Kind::NetRx, merged)?;
    packet.describe(&mut slot.record);
    slot.first_bytes = packet.header;
    Some((slot, handle))
}

/// The packet's slot. One that had entered the stack is its own only on a second device's way (bridge, VLAN): a packet
/// that is not followed, and so began no record, can have the memory of one that is.
#[inline(always)]
fn known(skb: Object) -> Option<(&'static mut Slot, Handle)> {
    let (slot, handle) = slots::find(key(skb))?;
    if slot.record.at[RECEIVE] != 0 {
        let position = packet::incoming(skb).map(|packet| packet.position);
        if position != Some(slot.record.position) {
            merged(slot);
            return None;
        }
    }
    Some((slot, handle))
}

/// A packet's memory is used again. If it had entered the stack and no reader was told of it alone, TCP has joined
/// it to another; that goes on record for those who look for it in another domain's.
#[inline(always)]
fn merged(slot: &mut Slot) {
    if slot.record.at[RECEIVE] == 0 {
        count(Counter::Abandoned);
        return;
    }
    if slot.record.at[READY] == 0 {
        count(Counter::SocketMerged);
        slot.record.flags |= flag::SOCKET_MERGED;
    }
    emit::net_rx(slot);
}

/// The packet is put in a CPU's backlog.
#[inline(always)]
pub fn put_in_backlog(skb: Object) {
    if let Some((slot, _)) = begin(skb) {
        slot.record.at[RX] = now();
    }
}

/// The soft interrupt that handles the packet, and the interrupt behind it.
#[inline(always)]
fn stamp_interrupt(slot: &mut Slot, cpu: &Cpu) {
    let record = &mut slot.record;
    if cpu.softirq != softirq::NET_RX + 1 || cpu.softirq_at < record.at[RX] {
        return;
    }
    let cause = cpu.cause_now();
    // A soft interrupt that ran before the packet's interrupt is no step of its way.
    if record.at[RX] != 0 || cause.at <= cpu.softirq_at {
        record.at[SOFTIRQ] = cpu.softirq_at;
    }
    if cpu.poll_at >= cpu.softirq_at {
        record.at[POLL] = cpu.poll_at;
    }
    if record.at[RX] != 0 {
        return;
    }
    if cause.count == 1 {
        record.at[IRQ] = cause.at;
        record.irq = cause.irq;
        record.at[UPCALL] = cause.upcall_at;
    } else if cause.count > 1 {
        record.flags |= flag::IRQ_AMBIGUOUS;
    }
}

#[btf_tracepoint(function = "napi_gro_receive_entry")]
pub fn napi_gro_receive(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(0);
    let Some(cpu) = cpu::this() else { return 0 };
    cpu.gro = 0;
    if let Some((slot, handle)) = begin(skb) {
        slot.record.at[GRO] = now();
        stamp_interrupt(slot, cpu);
        cpu.gro = handle;
    }
    0
}

/// A packet joined to another ends with it.
#[btf_tracepoint(function = "napi_gro_receive_exit")]
pub fn napi_gro_result(ctx: BtfTracePointContext) -> i32 {
    let result: i32 = ctx.arg(0);
    let Some(cpu) = cpu::this() else { return 0 };
    let handle = cpu.gro;
    cpu.gro = 0;
    if result != GRO_MERGED && result != GRO_MERGED_FREE {
        return 0;
    }
    if let Some(slot) = slots::of(handle)
        && slot.record.at[RECEIVE] == 0
    {
        count(Counter::GroMerged);
        slots::free(slot);
    }
    0
}

/// The packet enters the stack.
#[inline(always)]
pub fn entered(skb: Object, cpu: &mut Cpu) {
    let Some((slot, handle)) = known(skb).or_else(|| begin(skb)) else {
        return;
    };
    cpu.receiving = handle;
    // A packet that goes through several devices (bridge, VLAN) comes here for each: the first
    // counts.
    if slot.record.at[RECEIVE] == 0 {
        // Else it is stamped, and may have waited in GRO for another poll's end.
        if slot.record.at[GRO] == 0 {
            stamp_interrupt(slot, cpu);
        }
        slot.record.at[RECEIVE] = now();
    }
}

/// TCP looks at this segment: with packets handled in lists, not the last one that was received.
#[btf_tracepoint(function = "tcp_probe")]
pub fn tcp_segment(ctx: BtfTracePointContext) -> i32 {
    let skb: Object = ctx.arg(1);
    let Some(cpu) = cpu::this() else { return 0 };
    cpu.receiving = match slots::find(key(skb)) {
        Some((_, handle)) => handle,
        None => 0,
    };
    0
}

#[inline(always)]
fn ready(socket: Object) {
    let Some(cpu) = cpu::this() else { return };
    let protocol = member::SockProtocol.read(socket);
    let handle = if protocol == u16::from(UDP) {
        // UDP has just put the packet at its queue's tail.
        let newest = member::SockReceiveQueueTail.read(socket);
        match slots::find(key(newest)) {
            Some((_, handle)) => handle,
            None => 0,
        }
    } else {
        cpu.receiving
    };
    let Some(slot) = slots::of(handle) else {
        return;
    };
    // Packet sockets are told of the same packet, and any other socket may be told of something else meanwhile.
    if slot.record.kind != Kind::NetRx as u8
        || slot.state != state::FLIGHT
        || u16::from(slot.record.op) != protocol
        || slot.record.at[READY] != 0
    {
        return;
    }
    cpu.receiving = 0;
    slot.record.at[READY] = kernel::now();
    if cpu.level() == Level::Task {
        // The socket's owner handles its backlog: the reader is awake.
        slot.record.flags |= flag::READER_AWAKE;
        emit::net_rx(slot);
    } else {
        emit::begin_ending(cpu, slot, handle);
    }
}

#[btf_tracepoint(function = "sk_data_ready")]
pub fn sock_ready(ctx: BtfTracePointContext) -> i32 {
    ready(ctx.arg(0));
    0
}

/// For kernels without the tracepoint `sk_data_ready` (before 6.3).
#[fentry(function = "sock_def_readable")]
pub fn sock_ready_fentry(ctx: FEntryContext) -> i32 {
    ready(ctx.arg(0));
    0
}

/// The stack drops a packet on its way in.
#[inline(always)]
pub fn dropped(skb: Object) {
    if let Some((slot, _)) = slots::find(key(skb))
        && slot.record.kind == Kind::NetRx as u8
        && slot.record.at[RECEIVE] != 0
    {
        slot.record.flags |= flag::DROPPED;
        emit::net_rx(slot);
    }
}
