//! Whatever a guest says and records, the run has a report, and Dom0's part of it is there: a real recording
//! (made in the lab) with what is the guest's own made another.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{fs, path::Path};

use proptest::{prelude::*, sample::Index};
use serde_json::Value;
use tracer_analysis::{
    recording::directory::{DomainStart, IterationRecord, RunDirectory},
    replay::analyse,
    report::{Format, render},
};
use tracer_common::record::Record;

/// The recording's guest.
const GUEST: &str = "B";

fn recording() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/recordings/disk-vbd"
    ))
}

/// Every number and text in a JSON value.
fn leaves<'a>(value: &'a mut Value, found: &mut Vec<&'a mut Value>) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|inner| leaves(inner, found)),
        Value::Object(all) => all.values_mut().for_each(|inner| leaves(inner, found)),
        Value::Number(_) | Value::String(_) => found.push(value),
        _ => {}
    }
}

/// One of the guest's values, and what becomes of it.
type Lie = (Index, Value);

fn lie() -> impl Strategy<Value = Lie> {
    let values = prop::sample::select(vec![
        Value::from(0),
        Value::from(1),
        Value::from(0xffff_u16),
        Value::from(u32::MAX),
        Value::from(u64::MAX),
        Value::from(1u64 << 62),
        Value::from(""),
        Value::from("<script>&;\u{202e}"),
        Value::from("x".repeat(5000)),
    ]);
    (any::<Index>(), values)
}

/// Makes values of the guest's others, as far as that is still of the form that the loader takes.
fn change(guest: &mut [&mut Value], lies: &[Lie], is_taken: impl Fn(&[Value]) -> bool) {
    for (at, new) in lies {
        let before: Vec<Value> = guest.iter().map(|part| (**part).clone()).collect();
        let mut found = Vec::new();
        guest.iter_mut().for_each(|part| leaves(part, &mut found));
        if let Some(count) = std::num::NonZeroUsize::new(found.len()) {
            *found[at.index(count.get())] = new.clone();
        }
        let after: Vec<Value> = guest.iter().map(|part| (**part).clone()).collect();
        if !is_taken(&after) {
            for (part, before) in guest.iter_mut().zip(before) {
                **part = before;
            }
        }
    }
}

fn change_start(folder: &Path, lies: &[Lie]) {
    let file = folder.join(format!("{GUEST}-start.json"));
    let whole: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let names = ["hello", "bindings", "devices", "interfaces"];
    let mut parts: Vec<Value> = names.iter().map(|name| whole[*name].clone()).collect();
    let put = |parts: &[Value]| {
        let mut all = whole.clone();
        for (name, part) in names.iter().zip(parts) {
            all[*name] = part.clone();
        }
        all
    };
    let mut guest: Vec<&mut Value> = parts.iter_mut().collect();
    change(&mut guest, lies, |parts| {
        serde_json::from_value::<DomainStart>(put(parts)).is_ok()
    });
    fs::write(&file, put(&parts).to_string()).unwrap();
}

fn change_iterations(folder: &Path, lies: &[Lie]) {
    let file = folder.join("iterations.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let mut lines = String::new();
    for line in text.lines() {
        let whole: Value = serde_json::from_str(line).unwrap();
        let mut parts = [whole["load"].clone(), whole["windows"][GUEST].clone()];
        let put = |parts: &[Value]| {
            let mut all = whole.clone();
            all["load"] = parts[0].clone();
            all["windows"][GUEST] = parts[1].clone();
            all
        };
        let mut guest: Vec<&mut Value> = parts.iter_mut().collect();
        change(&mut guest, lies, |parts| {
            serde_json::from_value::<IterationRecord>(put(parts)).is_ok()
        });
        lines += &format!("{}\n", put(&parts));
    }
    fs::write(&file, lines).unwrap();
}

/// A record, which of its numbers, and what becomes of that.
type Forged = (Index, usize, u64);

fn forged() -> impl Strategy<Value = Forged> {
    let numbers = prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX / 2),
        any::<u64>(),
    ];
    (any::<Index>(), 0usize..24, numbers)
}

fn forge(folder: &Path, forged: &[Forged]) {
    let file = folder.join(format!("{GUEST}-records.bin"));
    let bytes = fs::read(&file).unwrap();
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some((record, length)) = Record::decode(&bytes[at..]) {
        records.push(record);
        at += length;
    }
    for (which, field, number) in forged {
        let which = which.index(records.len());
        let record = &mut records[which];
        match *field {
            0 => record.dev = *number as u32,
            1 => record.op = *number as u8,
            2 => record.flags = *number as u16,
            3 => record.bytes = *number as u32,
            4 => record.position = *number,
            5 => record.key = *number,
            6 => record.irq = *number as u32,
            // The same request over and over.
            7 => {
                let copy = *record;
                records.extend(std::iter::repeat_n(copy, 50));
            }
            stamp => record.at[(stamp - 8) % record.at.len()] = *number,
        }
    }
    let mut wire = Vec::new();
    for record in &records {
        record.encode(|piece| wire.extend_from_slice(piece));
    }
    fs::write(&file, wire).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_run_has_a_report_whatever_its_guest_says(
        start in prop::collection::vec(lie(), 0..6),
        iterations in prop::collection::vec(lie(), 0..6),
        records in prop::collection::vec(forged(), 0..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(recording()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        change_start(folder.path(), &start);
        change_iterations(folder.path(), &iterations);
        forge(folder.path(), &records);
        let report = analyse(&RunDirectory::open(folder.path()).unwrap()).unwrap();
        let backend = report.domains.iter().find(|domain| domain.name == "dom0").unwrap();
        prop_assert!(!backend.bindings.is_empty() && report.domains.len() == 2);
        for format in [Format::Text, Format::Json, Format::Folded, Format::Svg, Format::Html, Format::Perfetto] {
            let rendered = render(&report, format);
            // Times of centuries have no flame graph; it says so.
            let refused = rendered.as_ref().err().map(|error| format!("{error:#}"));
            let too_long = format == Format::Svg
                && refused.as_ref().is_some_and(|why| why.contains("nothing to draw"));
            prop_assert!(refused.is_none() || too_long, "{:?}", refused);
        }
        let html = String::from_utf8(render(&report, Format::Html).unwrap()).unwrap();
        prop_assert!(!html.contains("<script>&"), "a guest's name is in the page as it is");
    }
}
