//! Objects of the kernel, its clock, and what the loader tells the programs.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use tracer_common::hist::{SLOTS, slot};

/// Something at a fixed address, which keys are told from; aligned, so that they are even.
#[unsafe(no_mangle)]
static BASE: u64 = 0;

/// A kernel object whose type the verifier knows: an argument of a BTF tracepoint or of fentry.
pub type Object = *const u8;

/// A number that tells live kernel objects apart.
///
/// The verifier forbids arithmetic on the pointers it tracks, all but the difference of two: so the
/// number is the distance from a fixed address.
#[inline(always)]
pub fn key_of(object: Object) -> u64 {
    let mut key = object as u64;
    // SAFETY: plain subtraction; in assembly, since the compiler would move it to the other side of
    // a later comparison.
    unsafe {
        core::arch::asm!("{key} -= {base}", key = inout(reg) key, base = in(reg) (&raw const BASE) as u64);
    }
    key
}

/// The same of an object that came as a plain number. The verifier does not take a pointer from a
/// number, but makes numbers of pointers that were kept in a map: `kept` is in one.
#[inline(always)]
pub fn key_of_unknown(object: u64, kept: &mut u64) -> u64 {
    // SAFETY: a valid reference; volatile, so that the number is read back.
    unsafe {
        core::ptr::write_volatile(kept, (&raw const BASE) as u64);
        object.wrapping_sub(core::ptr::read_volatile(kept))
    }
}

/// Spreads keys over a table of a power of two of entries, up to 2^24: its low bits are the entry.
#[inline(always)]
pub fn hash(key: u64) -> u32 {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32
}

/// `CLOCK_MONOTONIC` in nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// `value` with only the bits of `MASK`: an index that the verifier sees to be in bounds, since the
/// compiler cannot drop the operation as needless.
#[inline(always)]
pub fn masked<const MASK: u64>(value: u64) -> usize {
    let mut value = value;
    // SAFETY: a plain bitwise and.
    unsafe {
        core::arch::asm!("{value} &= {mask}", value = inout(reg) value, mask = const MASK as i32)
    };
    value as usize
}

/// Counts `value` in a histogram of [`tracer_common::hist`].
#[inline(always)]
pub fn tally(histogram: &mut [u32; SLOTS], value: u64) {
    const { assert!(SLOTS == 256) };
    histogram[masked::<255>(slot(value) as u64) & 255] += 1;
}
