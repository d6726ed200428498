//! What the loader has told the programs.

use tracer_common::settings::Settings;

/// Replaced by the loader in the object, read-only once loaded: the verifier knows what is in it, and drops what a run
/// does not ask for.
#[unsafe(no_mangle)]
pub static SETTINGS: Settings = Settings::UNSET;

/// Where a list begins.
pub const fn first<T, const N: usize>(list: *const [T; N]) -> *const T {
    list.cast()
}

/// Reads a setting: `setting!(sample)`, or of a list `setting!(ports[index])`.
macro_rules! setting {
    ($name:ident) => {
        // SAFETY: a valid reference; volatile, because the loader replaces the value in the object.
        unsafe { ::core::ptr::read_volatile(&raw const $crate::core::settings::SETTINGS.$name) }
    };
    ($name:ident[$index:expr]) => {{
        let index: usize = $index;
        // SAFETY: as above; the caller's index is within the list.
        unsafe {
            ::core::ptr::read_volatile(
                $crate::core::settings::first(&raw const $crate::core::settings::SETTINGS.$name)
                    .add(index),
            )
        }
    }};
}
pub(crate) use setting;
