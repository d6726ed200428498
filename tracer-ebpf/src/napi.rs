//! Polls of network drivers, and which interrupt scheduled each.
//!
//! The soft interrupt NET_RX polls every driver that was scheduled, so the interrupt that raised it need not be the
//! poll's: a second one may come before it runs, and since Linux 6.4 (`in_net_rx_action` in net/core/dev.c) one that
//! comes while it runs raises none of its own. Interrupts that do not come first are kept, each for its poll.

use aya_ebpf::{
    macros::{fentry, map},
    maps::LruHashMap,
    programs::FEntryContext,
};

use crate::{
    cpu::{self, Cpu, Raised, softirq},
    kernel::{Object, key_of, now},
};

/// An interrupt that scheduled a poll.
#[repr(C)]
#[derive(Clone, Copy)]
struct Scheduled {
    /// Entry of the handler.
    at: u64,
    upcall_at: u64,
    irq: u64,
}

/// By `struct napi_struct`. A full map forgets the oldest: its poll gets the interrupt that raised the soft interrupt.
#[map]
static SCHEDULED: LruHashMap<u64, Scheduled> = LruHashMap::with_max_entries(1024, 0);

impl Cpu {
    /// The interrupt behind what the soft interrupt that runs is doing.
    #[inline(always)]
    pub fn cause_now(&self) -> &Raised {
        if self.poll_at >= self.softirq_at {
            &self.poll_cause
        } else {
            &self.cause
        }
    }
}

#[inline(always)]
fn scheduled(napi: Object) -> i32 {
    let Some(cpu) = cpu::this() else { return 0 };
    if cpu.irq_at == 0 {
        return 0;
    }
    cpu.sees_schedules = 1;
    let raised = &cpu.raised[softirq::NET_RX as usize];
    let is_pending = raised.count != 0 && raised.at != cpu.irq_at;
    if is_pending || cpu.softirq == softirq::NET_RX + 1 {
        cpu.scheduled_at = cpu.irq_at;
        let interrupt = Scheduled {
            at: cpu.irq_at,
            upcall_at: cpu.upcall_at,
            irq: u64::from(cpu.irq),
        };
        let _ = SCHEDULED.insert(&key_of(napi), &interrupt, 0);
    }
    0
}

#[fentry(function = "__napi_schedule")]
pub fn napi_schedule(ctx: FEntryContext) -> i32 {
    scheduled(ctx.arg(0))
}

/// The same of drivers that know interrupts to be off.
#[fentry(function = "__napi_schedule_irqoff")]
pub fn napi_schedule_irqoff(ctx: FEntryContext) -> i32 {
    scheduled(ctx.arg(0))
}

#[fentry(function = "__napi_poll")]
pub fn napi_poll(ctx: FEntryContext) -> i32 {
    let Some(cpu) = cpu::this() else { return 0 };
    cpu.poll_at = now();
    // Of several the first raised the soft interrupt: the others' polls are known by themselves.
    let is_clear = cpu.cause.count == 1 || cpu.sees_schedules != 0;
    cpu.poll_cause.count = if is_clear {
        cpu.cause.count.min(1)
    } else {
        cpu.cause.count
    };
    cpu.poll_cause.at = cpu.cause.at;
    cpu.poll_cause.irq = cpu.cause.irq;
    cpu.poll_cause.upcall_at = cpu.cause.upcall_at;
    if cpu.scheduled_at <= cpu.cause.at {
        return 0;
    }
    let key = key_of(ctx.arg(0));
    if let Some(own) = SCHEDULED.get_ptr(&key) {
        // SAFETY: the kernel keeps the value until the program ends; an entry is written by this CPU, in whose
        // interrupt the poll was scheduled.
        let own = unsafe { &*own };
        // One that is older was left by a poll that did not come this way.
        if own.at > cpu.cause.at {
            cpu.poll_cause.count = 1;
            cpu.poll_cause.at = own.at;
            cpu.poll_cause.irq = own.irq as u32;
            cpu.poll_cause.upcall_at = own.upcall_at;
        }
        // The driver's next poll, if its budget is used up, is nobody's.
        let _ = SCHEDULED.remove(&key);
    }
    0
}
