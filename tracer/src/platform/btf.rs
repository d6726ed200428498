//! Questions to the kernel's own type information (BTF), answered by name.

use std::{fs::File, path::Path};

use btf_rs::{Btf, Type};

/// Why a question to BTF has no answer.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file is missing or malformed.
    #[error(
        "cannot read the kernel's type information {path}: {source}; tracer needs a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// What btf-rs says.
        source: btf_rs::Error,
    },
    /// This kernel has no such struct.
    #[error("this kernel has no struct {0}")]
    NoStruct(String),
    /// The module that has the struct is not loaded, or has no type information.
    #[error("this kernel has no types of module {0} (it is not loaded, or built in)")]
    NoModule(String),
    /// The struct has no such member.
    #[error("this kernel's struct {0} has no member {1}")]
    NoMember(String, String),
    /// The member does not start at a byte.
    #[error("struct {0}'s member {1} is a bit field")]
    BitField(String, String),
}

fn unreadable(path: &Path, source: impl Into<btf_rs::Error>) -> BtfError {
    BtfError::Unreadable {
        path: path.display().to_string(),
        source: source.into(),
    }
}

/// Structs that are looked into for one member: the outer one and the anonymous ones within it. The
/// kernel's largest have some dozens; malformed BTF could nest in itself, and a bound on the depth
/// alone would leave a number of ways that grows exponentially.
const MOST_NESTED: u32 = 256;

/// The types of a running kernel.
pub struct Types {
    btf: Btf,
}

impl std::fmt::Debug for Types {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Types").finish_non_exhaustive()
    }
}

impl Types {
    /// Reads a BTF file.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn from_file(path: &Path) -> Result<Self, BtfError> {
        Btf::from_file(path)
            .map(|btf| Self { btf })
            .map_err(|source| unreadable(path, source))
    }

    /// Whether a BTF file can be read at all.
    ///
    /// # Errors
    /// If it is missing, or may not be read.
    pub fn check(path: &Path) -> Result<(), BtfError> {
        File::open(path)
            .map(drop)
            .map_err(|source| unreadable(path, source))
    }

    /// Reads a module's BTF file, which builds on the kernel's.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn of_module(&self, path: &Path) -> Result<Self, BtfError> {
        Btf::from_split_file(path, &self.btf)
            .map(|btf| Self { btf })
            .map_err(|source| unreadable(path, source))
    }

    /// Reads BTF from memory.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BtfError> {
        Btf::from_bytes(bytes)
            .map(|btf| Self { btf })
            .map_err(|source| unreadable(Path::new("(memory)"), source))
    }

    /// Byte offset of a member; `path` is dotted where the member is nested. Members of anonymous
    /// structs and unions count as the outer struct's. With an empty `path`: the struct's size.
    ///
    /// # Errors
    /// If the struct or member does not exist, or is a bit field.
    pub fn offset_of(&self, structure: &str, path: &str) -> Result<u32, BtfError> {
        let no_member = || BtfError::NoMember(structure.into(), path.into());
        let mut current = self
            .btf
            .resolve_types_by_name(structure)
            .unwrap_or_default()
            .into_iter()
            .find(|t| matches!(t, Type::Struct(_) | Type::Union(_)))
            .ok_or_else(|| BtfError::NoStruct(structure.into()))?;
        if path.is_empty() {
            return match current {
                Type::Struct(whole) | Type::Union(whole) => {
                    u32::try_from(whole.size()).map_err(|_| no_member())
                }
                _ => Err(no_member()),
            };
        }
        let mut bits = 0u32;
        for name in path.split('.') {
            let (offset, inner) = self
                .member(&current, name, &mut { MOST_NESTED })
                .ok_or_else(no_member)?;
            bits = bits.checked_add(offset).ok_or_else(no_member)?;
            current = inner;
        }
        if !bits.is_multiple_of(8) {
            return Err(BtfError::BitField(structure.into(), path.into()));
        }
        Ok(bits / 8)
    }

    /// A member's offset in bits, and its type; `left` structs may still be looked into.
    fn member(&self, outer: &Type, name: &str, left: &mut u32) -> Option<(u32, Type)> {
        *left = left.checked_sub(1)?;
        let (Type::Struct(members) | Type::Union(members)) = outer else {
            return None;
        };
        for member in &members.members {
            let member_name = self.btf.resolve_name(member).unwrap_or_default();
            if member_name == name {
                return Some((member.bit_offset(), self.strip(member)?));
            }
            if member_name.is_empty()
                && let Some((bits, t)) = self.member(&self.strip(member)?, name, left)
            {
                return Some((member.bit_offset().checked_add(bits)?, t));
            }
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn strip(&self, holder: &dyn btf_rs::BtfType) -> Option<Type> {
        let mut current = self.btf.resolve_chained_type(holder).ok()?;
        for _ in 0..32 {
            match &current {
                Type::Typedef(_)
                | Type::Const(_)
                | Type::Volatile(_)
                | Type::Restrict(_)
                | Type::TypeTag(_) => {
                    let next = self.btf.resolve_chained_type(current.as_btf_type()?).ok()?;
                    current = next;
                }
                _ => return Some(current),
            }
        }
        None
    }

    /// Arguments of a tracepoint's programs; `None` if BTF does not know the tracepoint. (Every
    /// tracepoint has a `typedef void (*btf_trace_NAME)(void *, ARGUMENTS)`.)
    #[must_use]
    pub fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let types = self
            .btf
            .resolve_types_by_name(&format!("btf_trace_{name}"))
            .ok()?;
        let typedef = types.into_iter().find(|t| matches!(t, Type::Typedef(_)))?;
        let pointer = self.btf.resolve_chained_type(typedef.as_btf_type()?).ok()?;
        match self.btf.resolve_chained_type(pointer.as_btf_type()?).ok()? {
            Type::FuncProto(prototype) => Some(prototype.parameters.len().saturating_sub(1)),
            _ => None,
        }
    }

    /// Whether there is a function of this name.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.btf
            .resolve_types_by_name(name)
            .is_ok_and(|types| types.iter().any(|t| matches!(t, Type::Func(_))))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, Instant};

    use object::{Object as _, ObjectSection as _};
    use proptest::prelude::*;

    use super::*;

    /// The type information of tracer's own programs: real, and small.
    pub(in crate::platform) fn own() -> Vec<u8> {
        let file = object::File::parse(crate::probe::OBJECT).unwrap();
        let section = file.section_by_name(".BTF").unwrap();
        section.data().unwrap().to_vec()
    }

    /// Whatever the bytes are, there is an answer or an error.
    fn ask(bytes: &[u8]) {
        if let Ok(types) = Types::from_bytes(bytes) {
            let _ = types.offset_of("Record", "at");
            let _ = types.offset_of("Slot", "record.at");
            let _ = types.tracepoint_arguments("block_rq_issue");
            let _ = types.has_function("blk_issue");
        }
    }

    #[test]
    fn real_types_answer() {
        let types = Types::from_bytes(&own()).unwrap();
        assert!(types.has_function("blk_issue"));
        assert!(!types.has_function("no_such_function"));
        assert!(matches!(
            types.offset_of("no_such_struct", "x"),
            Err(BtfError::NoStruct(_))
        ));
    }

    /// BTF of one struct `s`, whose members are all anonymous and of a type given by its number.
    fn nested(members: u32, member_type: u32) -> Vec<u8> {
        const STRUCT: u32 = 4 << 24;
        let mut types = vec![1, STRUCT | members, 8];
        types.extend((0..members).flat_map(|_| [0, member_type, 0]));
        let bytes = 4 * u32::try_from(types.len()).unwrap();
        let magic_version_flags = 0x0001_eb9f;
        [magic_version_flags, 24, 0, bytes, bytes, 3]
            .into_iter()
            .chain(types)
            .flat_map(u32::to_le_bytes)
            .chain(*b"\0s\0")
            .collect()
    }

    #[test]
    fn a_struct_within_itself_is_searched_in_bounded_time() {
        let types = Types::from_bytes(&nested(40, 1)).unwrap();
        let start = Instant::now();
        assert!(matches!(
            types.offset_of("s", "x"),
            Err(BtfError::NoMember(_, _))
        ));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn mutated_bytes_do_no_harm(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
            keep in any::<prop::sample::Index>(),
            cut in any::<bool>(),
        ) {
            let mut bytes = own();
            for (at, value) in &changes {
                // Half of them in the header and the first types, where most depends on it.
                let length = if value & 1 == 0 { 256 } else { bytes.len() };
                bytes[at.index(length)] = *value;
            }
            if cut {
                bytes.truncate(keep.index(bytes.len()));
            }
            ask(&bytes);
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            ask(&bytes);
        }
    }
}
