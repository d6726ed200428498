//! What each CPU is doing: which interrupt it serves and which request it is ending.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_get_smp_processor_id},
    macros::map,
    maps::PerCpuArray,
};

use crate::core::slots::Handle;

/// Soft interrupts (`enum` in include/linux/interrupt.h).
pub mod softirq {
    pub const NET_TX: u32 = 2;
    pub const NET_RX: u32 = 3;
    pub const BLOCK: u32 = 4;
    /// There are ten; a power of two keeps indexes in bounds by a mask.
    pub const COUNT: usize = 16;
}

/// An interrupt that raised a soft interrupt.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Raised {
    /// Entry of the handler.
    pub at: u64,
    pub action: u64,
    pub irq: u32,
    /// Interrupts that raised it since it last ran.
    pub count: u32,
    /// The CPU's last event channel upcall before the interrupt, which user space drops where another one brought it; 0:
    /// none, as without Xen.
    pub upcall_at: u64,
}

impl Raised {
    /// One interrupt raised it.
    #[inline(always)]
    pub fn set(&mut self, at: u64, action: u64, irq: u32, upcall_at: u64) {
        self.at = at;
        self.action = action;
        self.irq = irq;
        self.count = 1;
        self.upcall_at = upcall_at;
    }

    /// The same, field by field: a whole copy would become a call of memcpy.
    #[inline(always)]
    pub fn copy_from(&mut self, other: &Self) {
        self.set(other.at, other.action, other.irq, other.upcall_at);
        self.count = other.count;
    }
}

#[repr(C)]
pub struct Cpu {
    /// Entry of the hard interrupt handler that runs; 0: none.
    pub irq_at: u64,
    pub irq_action: u64,
    pub irq: u32,
    /// The soft interrupt that runs, plus one; 0: none.
    pub softirq: u32,
    pub softirq_at: u64,
    /// When the handler was entered whose soft interrupt was counted last.
    pub softirq_counted: u64,
    /// By soft interrupt: raised since it last ran.
    pub raised: [Raised; softirq::COUNT],
    /// What had raised the soft interrupt that runs.
    pub cause: Raised,
    /// By [`Level`]: the request that ends; its waiting task may be woken now.
    pub ending: [Handle; 3],
    /// The packet that the protocol stack handles (receive).
    pub receiving: Handle,
    /// The packet that GRO looks at.
    pub gro: Handle,
    /// The packet that leaves the device queue layer (transmit).
    pub sending: Handle,
    /// Start of the driver's poll function.
    pub poll_at: u64,
    /// What scheduled that poll.
    pub poll_cause: Raised,
    /// Whether polls are seen when they are scheduled; 0: none was yet.
    pub sees_schedules: u64,
    /// Start of netback's work on a guest's ring.
    pub netback_at: u64,
    /// When the netback thread that copied last told its guest of it; 0: not yet.
    pub netback_notified_at: u64,
    /// That thread.
    pub netback_tid: u32,
    /// `IRQF_*` of the hard interrupt handler that runs.
    pub irq_flags: u32,
    /// Start of the last event channel upcall; 0 without Xen.
    pub upcall_at: u64,
    /// See [`crate::core::kernel::key_of_unknown`].
    pub key_base: u64,
    /// When this CPU last went to another task.
    pub switched_at: u64,
    /// The block request that was issued last, and when.
    pub issued: Handle,
    /// The hardware queue that blkfront was last called for.
    pub queue: u32,
    pub issued_at: u64,
    /// Where Xen tells what became of this CPU's time; 0: not looked for yet. See [`crate::core::steal`].
    pub runstate: u64,
    /// Time that it had given to others at the last look.
    pub stolen: u64,
}

#[map]
static CPUS: PerCpuArray<Cpu> = PerCpuArray::with_max_entries(1, 0);

/// In what context code runs: each can interrupt only those before it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Level {
    Task = 0,
    Softirq = 1,
    Hardirq = 2,
}

/// `IRQF_*` of include/linux/interrupt.h: of an interrupt that each CPU has one of; of a timer.
const IRQF_PERCPU: u32 = 0x400;
const IRQF_TIMER: u32 = 0x200;

impl Cpu {
    /// Whether a hard interrupt runs that can be the cause of something, and not one by which another CPU asks for it,
    /// whose own cause is not known here: on Xen these have handlers as devices' have, of their own for each CPU.
    #[inline(always)]
    pub fn serves_device(&self) -> bool {
        let is_call = self.irq_flags & (IRQF_PERCPU | IRQF_TIMER) == IRQF_PERCPU;
        self.irq_at != 0 && !is_call
    }

    #[inline(always)]
    pub fn level(&self) -> Level {
        if self.irq_at != 0 {
            Level::Hardirq
        } else if self.softirq != 0 {
            Level::Softirq
        } else {
            Level::Task
        }
    }

    /// What this level is ending.
    #[inline(always)]
    pub fn ending(&mut self) -> &mut Handle {
        match self.level() {
            Level::Task => &mut self.ending[0],
            Level::Softirq => &mut self.ending[1],
            Level::Hardirq => &mut self.ending[2],
        }
    }
}

impl Cpu {
    /// Whether the thread that runs is the one of netback's that last took a packet to be copied on this CPU.
    #[inline(always)]
    pub fn copies_to_guest(&self) -> bool {
        self.level() == Level::Task && self.netback_tid != 0 && self.netback_tid == thread()
    }

    /// When that thread told its guest of the packet that it took at `taken_at`; 0 if it did not need to, or another
    /// thread came between.
    #[inline(always)]
    pub fn netback_notified_after(&self, taken_at: u64) -> u64 {
        if self.copies_to_guest() && self.netback_notified_at >= taken_at {
            self.netback_notified_at
        } else {
            0
        }
    }
}

/// This CPU's state.
#[inline(always)]
pub fn this() -> Option<&'static mut Cpu> {
    // SAFETY: per CPU; a program is interrupted only by programs of a higher level, which touch
    // other fields or restore them.
    unsafe { CPUS.get_ptr_mut(0).map(|cpu| &mut *cpu) }
}

/// The thread that runs.
#[inline(always)]
pub fn thread() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// The address of the task that runs.
#[inline(always)]
pub fn task() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}

/// This CPU's number.
#[inline(always)]
pub fn number() -> u16 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_smp_processor_id() as u16 }
}
