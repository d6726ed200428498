//! Members of kernel structs: each a static that the loader fills in, and the only way to read it.
//!
//! A static's symbol tells user space which programs read the member. The statics are read-only and frozen once loaded:
//! the verifier knows what is in them, and drops the reads by widths that this kernel does not have.
#![allow(
    non_upper_case_globals,
    reason = "they have the names of the table's rows"
)]

use core::{marker::PhantomData, ptr::read_volatile};

use aya_ebpf::helpers::bpf_probe_read_kernel;
use tracer_common::{
    member::{Layout, form},
    with_members,
};

use crate::core::kernel::Object;

/// What a static is made of.
trait Held {
    const MISSING: Self;
}

macro_rules! statics {
    ($($(#[$doc:meta])* $name:ident: $held:ty = $in:literal . $path:literal,)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub static $name: $held = <$held as Held>::MISSING;
        )*
    };
}

with_members!(statics);

/// A pointer.
#[repr(transparent)]
pub struct Pointer(Layout);

/// A number; in the kernel it may be narrower than `T`.
#[repr(transparent)]
pub struct Number<T>(Layout, PhantomData<T>);

/// All of a struct or an array.
#[repr(transparent)]
pub struct Whole<T>(Layout, PhantomData<T>);

/// The size of a struct.
#[repr(transparent)]
pub struct StructSize(Layout);

/// A member that some kernels do not have.
#[repr(transparent)]
pub struct Optional<H>(H);

impl Held for Pointer {
    const MISSING: Self = Self(Layout::MISSING);
}

impl<T> Held for Number<T> {
    const MISSING: Self = Self(Layout::MISSING, PhantomData);
}

impl<T> Held for Whole<T> {
    const MISSING: Self = Self(Layout::MISSING, PhantomData);
}

impl Held for StructSize {
    const MISSING: Self = Self(Layout::MISSING);
}

impl<H: Held> Held for Optional<H> {
    const MISSING: Self = Self(H::MISSING);
}

/// In bytes.
#[inline(always)]
fn offset(layout: &Layout) -> usize {
    // SAFETY: a valid reference; volatile, because the loader replaces the value in the object.
    unsafe { read_volatile(&raw const layout.offset) as usize }
}

/// One of [`form`].
#[inline(always)]
fn form_of(layout: &Layout) -> u32 {
    // SAFETY: as in `offset`.
    unsafe { read_volatile(&raw const layout.form) }
}

/// Memory that a member is read from.
trait Memory: Copy {
    /// Reads it as it is; `T` must be as wide as the member.
    fn load<T: Copy>(self) -> Option<T>;
}

/// Memory of an object that the verifier knows the type of.
#[derive(Clone, Copy)]
struct Known(Object);

impl Memory for Known {
    #[inline(always)]
    fn load<T: Copy>(self) -> Option<T> {
        // SAFETY: the verifier checks the offset against the object's BTF type and makes a fault read as zero.
        Some(unsafe { read_volatile(self.0.cast::<T>()) })
    }
}

/// Memory at any address.
#[derive(Clone, Copy)]
struct Unknown(u64);

impl Memory for Unknown {
    #[inline(always)]
    fn load<T: Copy>(self) -> Option<T> {
        // SAFETY: the helper reads from any address, or fails.
        unsafe { bpf_probe_read_kernel(self.0 as *const T) }.ok()
    }
}

#[inline(always)]
fn known(object: Object, layout: &Layout) -> Known {
    Known(object.wrapping_add(offset(layout)))
}

#[inline(always)]
fn unknown(address: u64, layout: &Layout) -> Unknown {
    Unknown(address.wrapping_add(offset(layout) as u64))
}

/// A number that can be made of narrower ones.
pub trait Wide: Copy + Default {
    #[expect(private_bounds, reason = "nobody else reads members")]
    fn load(from: impl Memory, layout: &Layout) -> Option<Self>;
}

macro_rules! wide {
    ($($held:ty: [$($form:ident as $narrow:ty),*];)*) => {
        $(
            impl Wide for $held {
                #[expect(private_bounds, reason = "nobody else reads members")]
                #[inline(always)]
                fn load(from: impl Memory, layout: &Layout) -> Option<Self> {
                    match form_of(layout) {
                        $(form::$form => from.load::<$narrow>().map(|number| number as $held),)*
                        _ => from.load(),
                    }
                }
            }
        )*
    };
}

wide! {
    u16: [U8 as u8, I8 as i8];
    u32: [U8 as u8, I8 as i8, U16 as u16, I16 as i16];
    u64: [U8 as u8, I8 as i8, U16 as u16, I16 as i16, U32 as u32, I32 as i32];
}

impl Wide for u8 {
    #[expect(private_bounds, reason = "nobody else reads members")]
    #[inline(always)]
    fn load(from: impl Memory, _: &Layout) -> Option<Self> {
        from.load()
    }
}

impl Pointer {
    /// Of an object that the verifier knows the type of: it knows that of the other end, too.
    #[inline(always)]
    pub fn read(&'static self, object: Object) -> Object {
        known(object, &self.0).load().unwrap_or(core::ptr::null())
    }

    /// Of an object that the verifier knows nothing of: a function's argument, a pointer read from one.
    #[inline(always)]
    pub fn read_unknown(&'static self, address: u64) -> Option<u64> {
        unknown(address, &self.0).load()
    }
}

impl<T: Wide> Number<T> {
    /// Of an object that the verifier knows the type of.
    #[inline(always)]
    pub fn read(&'static self, object: Object) -> T {
        T::load(known(object, &self.0), &self.0).unwrap_or_default()
    }

    /// Of an object that the verifier knows nothing of.
    #[inline(always)]
    pub fn read_unknown(&'static self, address: u64) -> Option<T> {
        T::load(unknown(address, &self.0), &self.0)
    }
}

impl<T: Copy> Whole<T> {
    /// Of an object that the verifier knows nothing of.
    #[inline(always)]
    pub fn read_unknown(&'static self, address: u64) -> Option<T> {
        unknown(address, &self.0).load()
    }
}

impl StructSize {
    /// In bytes; never 0.
    #[inline(always)]
    pub fn bytes(&'static self) -> u32 {
        (offset(&self.0) as u32).max(1)
    }
}

/// A member's layout.
trait Laid {
    fn layout(&self) -> &Layout;
}

impl<T> Laid for Number<T> {
    #[inline(always)]
    fn layout(&self) -> &Layout {
        &self.0
    }
}

impl<T> Laid for Whole<T> {
    #[inline(always)]
    fn layout(&self) -> &Layout {
        &self.0
    }
}

#[expect(private_bounds, reason = "nobody else makes members")]
impl<H: Laid> Optional<H> {
    /// The member, if this kernel has it.
    #[inline(always)]
    pub fn get(&'static self) -> Option<&'static H> {
        let is_missing = offset(self.0.layout()) == Layout::MISSING.offset as usize;
        (!is_missing).then_some(&self.0)
    }
}
