//! Type information made up for tests.

use tracer_common::member::Member;

/// Where a member is in each struct that it is nested in; in bytes.
pub(crate) const AT: u32 = 8;

/// What a member is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaf {
    /// An integer.
    Int { bytes: u32, is_signed: bool },
    /// An enumeration.
    Enum { bytes: u32 },
    /// Some bits of an integer.
    Bits(u32),
    /// A pointer.
    Pointer,
    /// A struct of so many bytes.
    Struct(u32),
    /// An array of numbers of 8 bytes.
    Array(u32),
    /// Its struct does not have it.
    Absent,
}

/// BTF that grows by one type after the other.
pub(crate) struct Blob {
    types: Vec<u32>,
    count: u32,
    strings: Vec<u8>,
}

impl Blob {
    const LONG: u32 = 1;

    /// With a `long` of so many bytes, as wide as pointers.
    pub(crate) fn new(long_bytes: u32) -> Self {
        let mut blob = Self {
            types: Vec::new(),
            count: 0,
            strings: vec![0],
        };
        blob.int("long unsigned int", long_bytes, false);
        blob
    }

    fn name(&mut self, text: &str) -> u32 {
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(text.bytes().chain([0]));
        at
    }

    fn add(&mut self, words: &[u32]) -> u32 {
        self.types.extend(words);
        self.count += 1;
        self.count
    }

    fn int(&mut self, name: &str, bytes: u32, is_signed: bool) -> u32 {
        let name = self.name(name);
        let encoding = (u32::from(is_signed) << 24) | (bytes * 8);
        self.add(&[name, 1 << 24, bytes, encoding])
    }

    fn structure(&mut self, name: &str, bytes: u32, members: &[(&str, u32, u32)]) -> u32 {
        let name = self.name(name);
        // By this flag the upper byte of a member's offset is the number of its bits.
        let mut words = vec![
            name,
            (1 << 31) | (4 << 24) | u32::try_from(members.len()).unwrap(),
            bytes,
        ];
        for (member, of, offset) in members {
            words.extend([self.name(member), *of, *offset]);
        }
        self.add(&words)
    }

    fn leaf(&mut self, leaf: Leaf) -> u32 {
        match leaf {
            Leaf::Int { bytes, is_signed } => self.int("int", bytes, is_signed),
            Leaf::Bits(_) => self.int("int", 4, false),
            Leaf::Enum { bytes } => self.add(&[0, 6 << 24, bytes]),
            Leaf::Pointer => self.add(&[0, 2 << 24, 0]),
            Leaf::Struct(bytes) => self.structure("", bytes, &[]),
            Leaf::Array(count) => self.add(&[0, 3 << 24, 0, Self::LONG, Self::LONG, count]),
            Leaf::Absent => Self::LONG,
        }
    }

    /// The struct of a member, which is this in it.
    pub(crate) fn member(mut self, member: Member, leaf: Leaf) -> Self {
        let mut of = self.leaf(leaf);
        let names: Vec<&str> = member
            .path()
            .split('.')
            .filter(|name| !name.is_empty())
            .collect();
        let bytes = match leaf {
            Leaf::Struct(bytes) if names.is_empty() => bytes,
            _ => 256,
        };
        for (depth, name) in names.iter().enumerate().rev() {
            let is_last = depth + 1 == names.len();
            let bits = match leaf {
                Leaf::Bits(bits) if is_last => bits << 24,
                _ => 0,
            };
            let name = match leaf {
                Leaf::Absent if is_last => "another",
                _ => name,
            };
            let structure = if depth == 0 { member.structure() } else { "" };
            of = self.structure(structure, bytes, &[(name, of, bits | (AT * 8))]);
        }
        if names.is_empty() {
            self.structure(member.structure(), bytes, &[]);
        }
        self
    }

    /// A function with so many arguments.
    pub(crate) fn function(mut self, name: &str, arguments: u32) -> Self {
        let mut prototype = vec![0, (13 << 24) | arguments, 0];
        prototype.extend((0..arguments).flat_map(|_| [0, Self::LONG]));
        let prototype = self.add(&prototype);
        let name = self.name(name);
        self.add(&[name, 12 << 24, prototype]);
        self
    }

    /// As a kernel has it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.types.len() * 4).unwrap();
        let strings = u32::try_from(self.strings.len()).unwrap();
        let magic_version_flags = 0x0001_eb9f;
        [magic_version_flags, 24, 0, length, length, strings]
            .into_iter()
            .chain(self.types.iter().copied())
            .flat_map(u32::to_le_bytes)
            .chain(self.strings.iter().copied())
            .collect()
    }
}
