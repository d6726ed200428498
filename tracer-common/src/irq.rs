//! Interrupt statistics that the kernel side keeps per CPU.

use crate::hist::SLOTS;

/// One handler of one interrupt line.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IrqKey {
    /// Linux's interrupt number.
    pub irq: u32,
    /// Zero.
    pub pad: u32,
    /// The address of the `struct irqaction`: tells the handlers of a shared line apart.
    pub action: u64,
}

/// What one CPU saw of one handler. Times in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct IrqStats {
    /// The name that the driver gave the handler, zero-terminated.
    pub name: [u8; 32],
    /// Calls of the handler.
    pub count: u64,
    /// Calls that returned `IRQ_HANDLED` or `IRQ_WAKE_THREAD`.
    pub handled: u64,
    /// Sum of the handler's times.
    pub time_sum: u64,
    /// Sum of the squares of the handler's times (wraps after 2^64 ns^2; see `time_max`).
    pub time_square_sum: u64,
    /// Longest time of the handler.
    pub time_max: u64,
    /// Calls after which a soft interrupt raised by the handler began on this CPU.
    pub softirq_count: u64,
    /// Sum of the delays from the handler's entry to that soft interrupt's entry.
    pub softirq_delay_sum: u64,
    /// Longest such delay.
    pub softirq_delay_max: u64,
    /// Time of the last arrival, for the distance between arrivals.
    pub last: u64,
    /// Histogram of the handler's times.
    pub time_hist: [u32; SLOTS],
    /// Histogram of the delays to the soft interrupt.
    pub softirq_delay_hist: [u32; SLOTS],
    /// Histogram of the distances between arrivals.
    pub distance_hist: [u32; SLOTS],
}

impl IrqStats {
    /// Nothing seen.
    pub const EMPTY: Self = Self {
        name: [0; 32],
        count: 0,
        handled: 0,
        time_sum: 0,
        time_square_sum: 0,
        time_max: 0,
        softirq_count: 0,
        softirq_delay_sum: 0,
        softirq_delay_max: 0,
        last: 0,
        time_hist: [0; SLOTS],
        softirq_delay_hist: [0; SLOTS],
        distance_hist: [0; SLOTS],
    };
}

// SAFETY: repr(C), only integers, no padding (the assertion below), any bit pattern is valid.
#[cfg(feature = "aya")]
unsafe impl aya::Pod for IrqKey {}
// SAFETY: as for `IrqKey`.
#[cfg(feature = "aya")]
unsafe impl aya::Pod for IrqStats {}

const _: () = assert!(core::mem::size_of::<IrqKey>() == 16);
const _: () = assert!(core::mem::size_of::<IrqStats>() == 32 + 9 * 8 + 3 * 4 * SLOTS);
