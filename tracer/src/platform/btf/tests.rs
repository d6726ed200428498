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
        let _ = types.member("Record", "at");
        let _ = types.member("Slot", "record.at");
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
        types.member("no_such_struct", "x"),
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
        types.member("s", "x"),
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
