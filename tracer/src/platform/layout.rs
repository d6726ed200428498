//! Whether the programs can hold a member as this kernel has it, and how they are to read it then.

use tracer_common::member::{Holds, Layout, Member, form};

use crate::platform::btf::{BtfError, Found, Shape};

/// The bytes of a pointer that the programs hold.
const POINTER_BYTES: u32 = 8;

/// How the programs are to read a member that is this in the running kernel.
///
/// # Errors
/// If they cannot hold it: a number that is wider than theirs, a pointer that is none, another size.
pub fn fit(member: Member, found: Found) -> Result<Layout, BtfError> {
    let held = member.holds();
    let at_offset = |form| Layout {
        offset: found.offset,
        form,
    };
    match (held, found.shape) {
        (Holds::Pointer, Shape::Pointer) if found.bytes == POINTER_BYTES => Ok(at_offset(0)),
        (Holds::Number { bytes }, Shape::Number { is_signed })
            if found.bytes <= bytes && found.bytes.is_power_of_two() =>
        {
            Ok(at_offset(match is_signed {
                _ if found.bytes == bytes => 0,
                true => found.bytes | form::SIGNED,
                false => found.bytes,
            }))
        }
        (Holds::Whole { bytes }, _) if found.bytes == bytes => Ok(at_offset(0)),
        (Holds::StructSize, Shape::Other) => Ok(Layout {
            offset: found.bytes,
            form: 0,
        }),
        _ => Err(BtfError::Misfit {
            structure: member.structure().into(),
            path: member.path().into(),
            found,
            held,
        }),
    }
}

#[cfg(test)]
mod tests;
