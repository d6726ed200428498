//! What must agree with each other: the datapath tables with the eBPF object, the documents with the
//! schemas.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind, SymbolKind};
use serde_json::Value;
use tracer::{datapath::DATAPATHS, probe::OBJECT};

/// Programs of the eBPF object: the functions in sections of their own.
fn programs_of_object() -> BTreeSet<String> {
    let file = object::File::parse(OBJECT).unwrap();
    file.symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_global())
        .filter(|symbol| {
            symbol
                .section_index()
                .and_then(|index| file.section_by_index(index).ok())
                .is_some_and(|section| {
                    section.kind() == SectionKind::Text && section.name() != Ok(".text")
                })
        })
        .map(|symbol| symbol.name().unwrap().to_owned())
        .collect()
}

#[test]
fn tables_and_object_have_the_same_programs() {
    let in_tables: BTreeSet<String> = DATAPATHS
        .iter()
        .flat_map(|path| path.probes())
        .flat_map(|probe| probe.bindings)
        .map(|binding| binding.program.to_owned())
        .collect();
    assert!(in_tables.len() > 20);
    assert_eq!(programs_of_object(), in_tables);
}

/// Names of all properties in a JSON schema.
fn properties(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(names)) = map.get("properties") {
                found.extend(names.keys().cloned());
            }
            map.values().for_each(|inner| properties(inner, found));
        }
        Value::Array(list) => list.iter().for_each(|inner| properties(inner, found)),
        _ => {}
    }
}

/// Properties of a schema that its document does not have in backticks.
fn undocumented(schema: &str, document: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(["schema", schema])
        .output()
        .unwrap();
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut names = BTreeSet::new();
    properties(&schema, &mut names);
    assert!(names.len() > 40);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let text = fs::read_to_string(docs.join(document)).unwrap();
    let words: BTreeSet<&str> = text.split(['`', '.', '[', ']']).collect();
    names
        .into_iter()
        .filter(|name| !words.contains(name.as_str()))
        .collect()
}

#[test]
fn scenario_document_has_every_key() {
    assert_eq!(
        undocumented("scenario", "scenario.md"),
        Vec::<String>::new()
    );
}

#[test]
fn report_document_has_every_field() {
    assert_eq!(
        undocumented("report", "report-schema.md"),
        Vec::<String>::new()
    );
}
