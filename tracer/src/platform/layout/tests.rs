use super::*;
use crate::platform::{
    btf::Types,
    btf_blob::{AT, Blob, Leaf},
};

/// How the programs are to read a member that is this in a kernel with such pointers.
fn layout_with(long_bytes: u32, member: Member, leaf: Leaf) -> Result<Layout, BtfError> {
    let types = Types::from_bytes(&Blob::new(long_bytes).member(member, leaf).bytes())?;
    fit(member, types.member(member.structure(), member.path())?)
}

fn layout(member: Member, leaf: Leaf) -> Result<Layout, BtfError> {
    layout_with(8, member, leaf)
}

/// The offset of a member in what is made up.
fn offset(member: Member) -> u32 {
    AT * u32::try_from(member.path().split('.').count()).unwrap()
}

/// That a member is refused, and that the error has its names.
fn assert_refused(member: Member, leaf: Leaf, result: Result<Layout, BtfError>) {
    let error = result
        .expect_err(&format!("{member:?} as {leaf:?}"))
        .to_string();
    let names = [member.structure(), member.path()];
    assert!(names.iter().all(|name| error.contains(name)), "{error}");
}

fn members_held(as_what: impl Fn(Holds) -> bool) -> Vec<Member> {
    let all = Member::ALL.iter().copied();
    let members: Vec<_> = all.filter(|member| as_what(member.holds())).collect();
    assert!(!members.is_empty());
    members
}

const WIDTHS: [u32; 4] = [1, 2, 4, 8];

#[test]
fn every_number_is_taken_by_its_width_unless_it_is_wider_than_held() {
    for member in Member::ALL.iter().copied() {
        let Holds::Number { bytes: held } = member.holds() else {
            continue;
        };
        for (bytes, is_signed) in WIDTHS
            .iter()
            .flat_map(|bytes| [(*bytes, false), (*bytes, true)])
        {
            let leaf = Leaf::Int { bytes, is_signed };
            if bytes > held {
                assert_refused(member, leaf, layout(member, leaf));
                continue;
            }
            let form = match (bytes == held, is_signed) {
                (true, _) => 0,
                (false, true) => bytes | form::SIGNED,
                (false, false) => bytes,
            };
            let offset = offset(member);
            assert_eq!(layout(member, leaf).unwrap(), Layout { offset, form });
        }
        let wide = Leaf::Enum { bytes: held };
        assert_eq!(layout(member, wide).unwrap().form, 0);
        for leaf in [
            Leaf::Pointer,
            Leaf::Struct(held),
            Leaf::Array(1),
            Leaf::Int {
                bytes: 3,
                is_signed: false,
            },
        ] {
            assert_refused(member, leaf, layout(member, leaf));
        }
    }
}

#[test]
fn forms_are_what_the_programs_know() {
    let forms = |bytes, is_signed| {
        layout(Member::PendingId, Leaf::Int { bytes, is_signed })
            .unwrap()
            .form
    };
    assert_eq!(
        WIDTHS.map(|bytes| forms(bytes, false)),
        [form::U8, form::U16, form::U32, 0]
    );
    assert_eq!(
        WIDTHS.map(|bytes| forms(bytes, true)),
        [form::I8, form::I16, form::I32, 0]
    );
}

#[test]
fn every_pointer_is_one_of_eight_bytes() {
    for member in members_held(|holds| holds == Holds::Pointer) {
        let offset = offset(member);
        assert_eq!(
            layout(member, Leaf::Pointer).unwrap(),
            Layout { offset, form: 0 }
        );
        assert_refused(member, Leaf::Pointer, layout_with(4, member, Leaf::Pointer));
        for leaf in [
            Leaf::Int {
                bytes: 8,
                is_signed: false,
            },
            Leaf::Int {
                bytes: 4,
                is_signed: false,
            },
            Leaf::Struct(8),
        ] {
            assert_refused(member, leaf, layout(member, leaf));
        }
    }
}

#[test]
fn what_is_read_as_a_whole_has_its_size() {
    for member in members_held(|holds| matches!(holds, Holds::Whole { .. })) {
        let Holds::Whole { bytes } = member.holds() else {
            unreachable!();
        };
        for leaf in [Leaf::Struct(bytes), Leaf::Array(bytes / 8)] {
            assert_eq!(layout(member, leaf).unwrap().offset, offset(member));
        }
        for leaf in [
            Leaf::Struct(bytes + 8),
            Leaf::Array(bytes / 8 - 1),
            Leaf::Pointer,
        ] {
            assert_refused(member, leaf, layout(member, leaf));
        }
    }
}

#[test]
fn the_size_of_a_struct_is_what_the_types_say() {
    for member in members_held(|holds| holds == Holds::StructSize) {
        let layout = layout(member, Leaf::Struct(408)).unwrap();
        assert_eq!(
            layout,
            Layout {
                offset: 408,
                form: 0
            }
        );
    }
}

#[test]
fn members_that_are_not_there_or_have_no_bytes_are_refused() {
    for member in members_held(|holds| holds != Holds::StructSize) {
        for leaf in [Leaf::Absent, Leaf::Bits(3), Leaf::Bits(8)] {
            assert_refused(member, leaf, layout(member, leaf));
        }
        assert!(matches!(
            layout(member, Leaf::Bits(3)),
            Err(BtfError::BitField(_, _))
        ));
    }
}

#[test]
fn the_error_says_what_is_and_what_was_wanted() {
    let leaf = Leaf::Int {
        bytes: 8,
        is_signed: true,
    };
    assert_eq!(
        layout(Member::TaskOnCpu, leaf).unwrap_err().to_string(),
        "struct task_struct's member on_cpu is a signed number of 8 bytes here, the programs hold a number of at most 4 bytes"
    );
}
