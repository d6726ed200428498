//! What the compiled programs read, held against what the tables declare. Each member is a symbol of its own in the eBPF
//! object, so that the relocations of a program and of all that it calls are the members that it reads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, Relocation, RelocationTarget, SectionIndex,
    SymbolKind,
};
use tracer::probe::OBJECT;
use tracer_analysis::datapath::DATAPATHS;
use tracer_common::member::Member;

/// A place in the object: in which section, by its number, at which byte.
type Place = (usize, u64);

/// Of an instruction: what it does, and the kind of its operand (include/uapi/linux/bpf.h).
const LOAD_IMMEDIATE: u8 = 0x18;
const CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;

const INSTRUCTION_BYTES: u64 = 8;

struct Function {
    at: Place,
    bytes: u64,
}

/// The object, as far as it tells who reads what.
struct Programs<'a> {
    file: object::File<'a>,
    functions: BTreeMap<String, Function>,
    /// By where they begin.
    members: BTreeMap<Place, (u64, Member)>,
    relocations: BTreeMap<Place, Relocation>,
}

impl Programs<'_> {
    fn of_object() -> Self {
        let file = object::File::parse(OBJECT).unwrap();
        let (mut functions, mut members) = (BTreeMap::new(), BTreeMap::new());
        for symbol in file.symbols() {
            let (Some(section), name) = (symbol.section_index(), symbol.name().unwrap()) else {
                continue;
            };
            let at = (section.0, symbol.address());
            let bytes = symbol.size();
            if symbol.kind() == SymbolKind::Text {
                functions.insert(name.to_owned(), Function { at, bytes });
            } else if let Some(member) = Member::ALL.iter().find(|member| member.name() == name) {
                members.insert(at, (bytes, *member));
            }
        }
        let relocations = file
            .sections()
            .flat_map(|section| {
                let index = section.index().0;
                section
                    .relocations()
                    .map(move |(at, relocation)| ((index, at), relocation))
            })
            .collect();
        Self {
            file,
            functions,
            members,
            relocations,
        }
    }

    /// What an instruction's relocation refers to; `addend` is what stands in the instruction.
    fn target(&self, relocation: &Relocation, addend: i64) -> Place {
        let RelocationTarget::Symbol(index) = relocation.target() else {
            panic!("a relocation to no symbol");
        };
        let symbol = self.file.symbol_by_index(index).unwrap();
        let address = symbol.address().checked_add_signed(addend).unwrap();
        (symbol.section_index().unwrap().0, address)
    }

    /// The member at a place, or in the middle of which it is.
    fn member_at(&self, place: Place) -> Option<Member> {
        let ((section, start), (bytes, member)) = self.members.range(..=place).next_back()?;
        (*section == place.0 && place.1 < start + bytes).then_some(*member)
    }

    /// The members that a program reads, itself or by what it calls.
    fn reads(&self, program: &str) -> BTreeSet<Member> {
        let mut reads = BTreeSet::new();
        let mut left = vec![self.functions[program].at];
        let mut seen = BTreeSet::new();
        while let Some(at) = left.pop() {
            if seen.insert(at) {
                self.read_function(at, &mut reads, &mut left);
            }
        }
        reads
    }

    /// Adds what one function reads, and what it calls.
    fn read_function(&self, start: Place, reads: &mut BTreeSet<Member>, calls: &mut Vec<Place>) {
        let mut functions = self.functions.values();
        let function = functions
            .find(|function| function.at == start)
            .unwrap_or_else(|| panic!("there is no function at {start:?}"));
        let section = self.file.section_by_index(SectionIndex(start.0)).unwrap();
        let code = section
            .data_range(start.1, function.bytes)
            .unwrap()
            .unwrap();
        let mut at = start.1;
        while at < start.1 + function.bytes {
            let from = usize::try_from(at - start.1).unwrap();
            let instruction: [u8; 8] = code[from..from + 8].try_into().unwrap();
            let [operation, registers, _, _, immediate @ ..] = instruction;
            let immediate = i64::from(i32::from_le_bytes(immediate));
            let relocation = self.relocations.get(&(start.0, at));
            match (operation, registers >> 4) {
                (LOAD_IMMEDIATE, _) => {
                    let target = relocation.map(|found| self.target(found, immediate));
                    reads.extend(target.and_then(|place| self.member_at(place)));
                    at += INSTRUCTION_BYTES;
                }
                (CALL, PSEUDO_CALL) => {
                    let ahead = 8 * (immediate + 1);
                    calls.push(match relocation {
                        Some(found) => self.target(found, ahead),
                        None => (start.0, at.checked_add_signed(ahead).unwrap()),
                    });
                }
                _ => assert!(relocation.is_none(), "a relocation of something else"),
            }
            at += INSTRUCTION_BYTES;
        }
    }
}

#[test]
fn bindings_need_what_their_programs_read() {
    let programs = Programs::of_object();
    let bindings = DATAPATHS
        .iter()
        .flat_map(|path| path.probes())
        .flat_map(|probe| probe.bindings);
    let mut drifted = BTreeSet::new();
    for binding in bindings {
        let needs: BTreeSet<Member> = binding.needs.iter().copied().collect();
        let mut reads = programs.reads(binding.program);
        reads.retain(|member| !member.is_optional());
        for member in reads.difference(&needs) {
            drifted.insert(format!("{} reads {member:?}, undeclared", binding.program));
        }
        for member in needs.difference(&reads) {
            drifted.insert(format!("{} does not read {member:?}", binding.program));
        }
    }
    assert!(drifted.is_empty(), "{drifted:#?}");
}

#[test]
fn every_member_is_read_by_some_program() {
    let programs = Programs::of_object();
    assert_eq!(programs.members.len(), Member::ALL.len());
    let bindings = DATAPATHS
        .iter()
        .flat_map(|path| path.probes())
        .flat_map(|probe| probe.bindings);
    let read: BTreeSet<Member> = bindings.flat_map(|b| programs.reads(b.program)).collect();
    let unread = Member::ALL.iter().filter(|member| !read.contains(member));
    assert_eq!(unread.collect::<Vec<_>>(), Vec::<&Member>::new());
}
