//! Interrupts: arrivals, handler times, delays to the soft interrupt; and which interrupt a
//! request's completion belongs to.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel_str,
    macros::{btf_tracepoint, map},
    maps::{PerCpuArray, PerCpuHashMap},
    programs::BtfTracePointContext,
};
use tracer_common::{
    counter::Counter,
    irq::{IrqKey, IrqStats},
};

use crate::core::{
    counters::count,
    cpu::{self, softirq},
    emit,
    kernel::{self, Object, key_of, masked, tally},
    member,
};

/// `BPF_F_NO_PREALLOC`: most interrupt lines never fire.
const NO_PREALLOC: u32 = 1;

#[map]
static IRQS: PerCpuHashMap<IrqKey, IrqStats> = PerCpuHashMap::with_max_entries(1024, NO_PREALLOC);
/// What a new entry starts as: too large for a program's stack. Never written.
#[map]
static IRQ_EMPTY: PerCpuArray<IrqStats> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn key(irq: u32, action: u64) -> IrqKey {
    IrqKey {
        irq,
        pad: 0,
        action,
    }
}

#[inline(always)]
fn stats(irq: u32, action: u64) -> Option<&'static mut IrqStats> {
    // SAFETY: per CPU, and hard interrupt handlers do not nest.
    IRQS.get_ptr_mut(key(irq, action))
        .map(|stats| unsafe { &mut *stats })
}

/// As [`stats`], made if it is not there yet, and named on each CPU.
#[inline(always)]
fn named_stats(irq: u32, action: Object, action_key: u64) -> Option<&'static mut IrqStats> {
    let stats = match stats(irq, action_key) {
        Some(stats) => stats,
        None => added(irq, action_key)?,
    };
    if stats.name[0] == 0 {
        let name = member::IrqactionName.read(action);
        // SAFETY: the helper bounds the copy by the array's size and ends it with a zero.
        unsafe {
            bpf_probe_read_kernel_str(
                stats.name.as_mut_ptr().cast(),
                stats.name.len() as u32,
                name.cast(),
            );
        }
    }
    Some(stats)
}

#[inline(always)]
fn added(irq: u32, action: u64) -> Option<&'static mut IrqStats> {
    if IRQS.insert(key(irq, action), IRQ_EMPTY.get(0)?, 0).is_err() {
        count(Counter::IrqTableFull);
    }
    stats(irq, action)
}

#[btf_tracepoint(function = "irq_handler_entry")]
pub fn irq_entry(ctx: BtfTracePointContext) -> i32 {
    let Some(cpu) = cpu::this() else { return 0 };
    let irq: i32 = ctx.arg(0);
    let action: Object = ctx.arg(1);
    cpu.irq = irq as u32;
    cpu.irq_flags = member::IrqactionFlags.read(action);
    cpu.irq_action = key_of(action);
    cpu.irq_at = kernel::now();
    0
}

#[btf_tracepoint(function = "irq_handler_exit")]
pub fn irq_exit(ctx: BtfTracePointContext) -> i32 {
    let Some(cpu) = cpu::this() else { return 0 };
    let action: Object = ctx.arg(1);
    let result: i32 = ctx.arg(2);
    let entry = cpu.irq_at;
    if entry == 0 {
        return 0;
    }
    let time = kernel::now().wrapping_sub(entry);
    if let Some(stats) = named_stats(cpu.irq, action, cpu.irq_action) {
        stats.count += 1;
        stats.handled += u64::from(result != 0);
        stats.time_sum += time;
        stats.time_square_sum = stats.time_square_sum.wrapping_add(time.wrapping_mul(time));
        stats.time_max = stats.time_max.max(time);
        tally(&mut stats.time_hist, time);
        if stats.last != 0 {
            tally(&mut stats.distance_hist, entry.wrapping_sub(stats.last));
        }
        stats.last = entry;
    }
    emit::end_previous(cpu);
    cpu.irq_at = 0;
    0
}

#[btf_tracepoint(function = "softirq_raise")]
pub fn softirq_raise(ctx: BtfTracePointContext) -> i32 {
    let Some(cpu) = cpu::this() else { return 0 };
    let vector: u32 = ctx.arg(0);
    if !cpu.serves_device() || vector as usize >= softirq::COUNT {
        return 0;
    }
    let raised = &mut cpu.raised[masked::<15>(u64::from(vector)) & 15];
    if raised.count == 0 {
        raised.set(cpu.irq_at, cpu.irq_action, cpu.irq, cpu.upcall_at);
    } else if raised.at != cpu.irq_at {
        raised.count += 1;
    }
    0
}

#[btf_tracepoint(function = "softirq_entry")]
pub fn softirq_entry(ctx: BtfTracePointContext) -> i32 {
    let Some(cpu) = cpu::this() else { return 0 };
    let vector: u32 = ctx.arg(0);
    if vector as usize >= softirq::COUNT {
        return 0;
    }
    let now = kernel::now();
    cpu.softirq = vector + 1;
    cpu.softirq_at = now;
    let raised = &mut cpu.raised[masked::<15>(u64::from(vector)) & 15];
    cpu.cause.copy_from(raised);
    raised.count = 0;
    // A handler can raise several: the first is what it waits for, the next also for the first to end.
    if cpu.cause.count != 0
        && cpu.cause.at != cpu.softirq_counted
        && let Some(stats) = stats(cpu.cause.irq, cpu.cause.action)
    {
        cpu.softirq_counted = cpu.cause.at;
        let delay = now.wrapping_sub(cpu.cause.at);
        stats.softirq_count += 1;
        stats.softirq_delay_sum += delay;
        stats.softirq_delay_max = stats.softirq_delay_max.max(delay);
        tally(&mut stats.softirq_delay_hist, delay);
    }
    0
}

#[btf_tracepoint(function = "softirq_exit")]
pub fn softirq_exit(_ctx: BtfTracePointContext) -> i32 {
    let Some(cpu) = cpu::this() else { return 0 };
    emit::end_previous(cpu);
    cpu.softirq = 0;
    cpu.poll_at = 0;
    0
}
