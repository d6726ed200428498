//! Questions to the kernel's own type information (BTF), answered by name.

use std::{
    fs::{self, File},
    path::Path,
};

use btf_rs::{Btf, BtfType, Type};
use tracer_common::member::Holds;

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
    /// The member has no bytes of its own.
    #[error("struct {0}'s member {1} is a bit field here")]
    BitField(String, String),
    /// The member is not of a kind or a width that the programs can hold.
    #[error("struct {structure}'s member {path} is {found} here, the programs hold {}", wanted(.held))]
    Misfit {
        /// The struct.
        structure: String,
        /// The member, dotted where it is nested.
        path: String,
        /// What this kernel has.
        found: Found,
        /// What the programs hold it as.
        held: Holds,
    },
}

/// What the programs hold a member as, in words.
fn wanted(held: &Holds) -> String {
    match held {
        Holds::Pointer => "a pointer of 8 bytes".into(),
        Holds::Number { bytes } => format!("a number of at most {bytes} bytes"),
        Holds::Whole { bytes } => format!("all of {bytes} bytes"),
        Holds::StructSize => "its size".into(),
    }
}

/// What a member is in this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A pointer.
    Pointer,
    /// An integer, an enumeration or a truth value.
    Number {
        /// Whether it can be negative.
        is_signed: bool,
    },
    /// A struct, a union, an array, or what else is no number.
    Other,
}

/// Where a member is in this kernel, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its first byte in its struct; in bytes.
    pub offset: u32,
    /// Its size; in bytes.
    pub bytes: u32,
    /// What it is.
    pub shape: Shape,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.shape {
            Shape::Pointer => "a pointer of",
            Shape::Number { is_signed: true } => "a signed number of",
            Shape::Number { is_signed: false } => "an unsigned number of",
            Shape::Other => "no number, but something of",
        };
        write!(f, "{kind} {} bytes", self.bytes)
    }
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

/// A member within a struct.
struct Inner {
    /// Where it begins; in bits.
    bits: u32,
    is_bit_field: bool,
    of: Type,
}

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
        // From a file btf-rs asks the kernel for its place before each type: 130000 system calls for a kernel's.
        let bytes = fs::read(path).map_err(|source| unreadable(path, source))?;
        Btf::from_bytes(&bytes)
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
        let bytes = fs::read(path).map_err(|source| unreadable(path, source))?;
        Btf::from_split_bytes(&bytes, &self.btf)
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

    /// A member; `path` is dotted where it is nested. Members of anonymous structs and unions count as the outer
    /// struct's. With an empty `path`: the struct itself.
    ///
    /// # Errors
    /// If the struct or member does not exist, or is a bit field.
    pub fn member(&self, structure: &str, path: &str) -> Result<Found, BtfError> {
        let no_member = || BtfError::NoMember(structure.into(), path.into());
        let mut current = self
            .btf
            .resolve_types_by_name(structure)
            .unwrap_or_default()
            .into_iter()
            .find(|t| matches!(t, Type::Struct(_) | Type::Union(_)))
            .ok_or_else(|| BtfError::NoStruct(structure.into()))?;
        let mut bits = 0u32;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            let inner = self
                .inner(&current, name, &mut { MOST_NESTED })
                .ok_or_else(no_member)?;
            bits = bits.checked_add(inner.bits).ok_or_else(no_member)?;
            if inner.is_bit_field || !bits.is_multiple_of(8) {
                return Err(BtfError::BitField(structure.into(), path.into()));
            }
            current = inner.of;
        }
        let (bytes, shape) = self
            .shape(&current, &mut { MOST_NESTED })
            .ok_or_else(no_member)?;
        Ok(Found {
            offset: bits / 8,
            bytes,
            shape,
        })
    }

    /// The size of a type in bytes, and what it is; arrays may still have so many dimensions.
    fn shape(&self, of: &Type, left: &mut u32) -> Option<(u32, Shape)> {
        *left = left.checked_sub(1)?;
        let number = |is_signed| Shape::Number { is_signed };
        let (bytes, shape) = match of {
            Type::Ptr(_) => return Some((self.pointer_bytes(), Shape::Pointer)),
            Type::Int(int) => (int.size(), number(int.is_signed())),
            Type::Enum(values) => (values.size(), number(values.is_signed())),
            Type::Enum64(values) => (values.size(), number(values.is_signed())),
            Type::Struct(whole) | Type::Union(whole) => (whole.size(), Shape::Other),
            Type::Float(float) => (float.size(), Shape::Other),
            Type::Array(array) => {
                let element = self.shape(&self.strip(array)?, left)?.0;
                let bytes = usize::try_from(element).ok()?.checked_mul(array.len())?;
                (bytes, Shape::Other)
            }
            _ => return None,
        };
        Some((u32::try_from(bytes).ok()?, shape))
    }

    /// The size of pointers: BTF says it only of `long`, which is as wide in the kernel.
    fn pointer_bytes(&self) -> u32 {
        let longs = self.btf.resolve_types_by_name("long unsigned int");
        let mut sizes = longs.iter().flatten().filter_map(|t| match t {
            Type::Int(int) => u32::try_from(int.size()).ok(),
            _ => None,
        });
        sizes.next().unwrap_or(8)
    }

    /// What is in a struct or union under a name; `left` structs may still be looked into.
    fn inner(&self, outer: &Type, name: &str, left: &mut u32) -> Option<Inner> {
        *left = left.checked_sub(1)?;
        let (Type::Struct(members) | Type::Union(members)) = outer else {
            return None;
        };
        for member in &members.members {
            let member_name = self.btf.resolve_name(member).unwrap_or_default();
            if member_name == name {
                return Some(Inner {
                    bits: member.bit_offset(),
                    is_bit_field: member.bitfield_size().is_some_and(|bits| bits != 0),
                    of: self.strip(member)?,
                });
            }
            if member_name.is_empty()
                && let Some(mut inner) = self.inner(&self.strip(member)?, name, left)
            {
                inner.bits = inner.bits.checked_add(member.bit_offset())?;
                return Some(inner);
            }
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn strip(&self, holder: &dyn BtfType) -> Option<Type> {
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
        self.function_arguments(name).is_some()
    }

    /// Arguments of a function; `None` if BTF does not know it.
    #[must_use]
    pub fn function_arguments(&self, name: &str) -> Option<usize> {
        let types = self.btf.resolve_types_by_name(name).ok()?;
        let function = types.into_iter().find(|t| matches!(t, Type::Func(_)))?;
        match self
            .btf
            .resolve_chained_type(function.as_btf_type()?)
            .ok()?
        {
            Type::FuncProto(prototype) => Some(prototype.parameters.len()),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
