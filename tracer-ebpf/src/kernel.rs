//! The only reads of kernel structs, by offsets that user space found in BTF.

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel};
use tracer_common::{
    hist::{SLOTS, slot},
    member::{MISSING, Member, TABLE_LEN},
};

/// Byte offsets by [`Member`]; read-only and frozen once loaded, so that the verifier knows them.
#[unsafe(no_mangle)]
static OFFSETS: [u32; TABLE_LEN] = [MISSING; TABLE_LEN];

/// A kernel object whose type the verifier knows: an argument of a BTF tracepoint or of fentry.
pub type Object = *const u8;

/// A number by which the loader configures the programs.
pub struct Setting(u64);

impl Setting {
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    #[inline(always)]
    pub fn get(&self) -> u64 {
        // SAFETY: a valid reference; volatile, because the loader replaces the value in the object.
        unsafe { core::ptr::read_volatile(&raw const self.0) }
    }
}

/// Where a member is in its struct, in bytes.
#[inline(always)]
pub fn offset(member: Member) -> usize {
    // SAFETY: `Member::ALL` fits the table (asserted beside it); volatile, because the loader
    // replaces the table in the object.
    unsafe {
        core::ptr::read_volatile((&raw const OFFSETS).cast::<u32>().add(member as usize)) as usize
    }
}

/// The size of the struct that a member stands for; never 0.
#[inline(always)]
pub fn size(member: Member) -> u32 {
    (offset(member) as u32).max(1)
}

/// The address of a member that is itself a struct or an array.
#[inline(always)]
pub fn address_of(object: Object, member: Member) -> Object {
    object.wrapping_add(offset(member))
}

/// A member's value. `T` must be of the member's size.
#[inline(always)]
pub fn read<T: Copy>(object: Object, member: Member) -> T {
    // SAFETY: the verifier checks the offset against the object's BTF type and makes a fault read
    // as zero.
    unsafe { core::ptr::read_volatile(address_of(object, member).cast::<T>()) }
}

/// A member's value, of an object that the verifier knows nothing of: a function's argument, a pointer
/// read from one. `T` must be of the member's size.
#[inline(always)]
pub fn read_unknown<T: Copy>(object: u64, member: Member) -> Option<T> {
    let address = object.wrapping_add(offset(member) as u64);
    // SAFETY: the helper reads from any address, or fails.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

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
        core::arch::asm!("{key} -= {base}", key = inout(reg) key, base = in(reg) (&raw const OFFSETS) as u64);
    }
    key
}

/// The same of an object that came as a plain number. The verifier does not take a pointer from a
/// number, but makes numbers of pointers that were kept in a map: `kept` is in one.
#[inline(always)]
pub fn key_of_unknown(object: u64, kept: &mut u64) -> u64 {
    // SAFETY: a valid reference; volatile, so that the number is read back.
    unsafe {
        core::ptr::write_volatile(kept, (&raw const OFFSETS) as u64);
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
