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
use tracer::probe::OBJECT;
use tracer_analysis::datapath::DATAPATHS;

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

/// A JSON schema, as the command prints it.
fn schema(of: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(["schema", of])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn document(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    fs::read_to_string(docs.join(name)).unwrap()
}

/// Names of the properties of a schema's part.
fn properties(part: &Value) -> BTreeSet<String> {
    let names = part["properties"].as_object().into_iter().flatten();
    names.map(|(name, _)| name.clone()).collect()
}

/// The tables under a heading, each as the names in its rows' first cells; of a dotted name its first
/// part.
fn tables(text: &str, heading: &str) -> Vec<BTreeSet<String>> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(heading));
    assert!(lines.next().is_some(), "there is no heading {heading}");
    let section: Vec<&str> = lines.take_while(|line| !line.starts_with('#')).collect();
    section
        .split(|line| !line.starts_with('|'))
        .filter(|table| !table.is_empty())
        .map(|table| {
            let rows = table.iter().skip(2);
            rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','))
                .map(|name| name.trim().trim_matches('`'))
                .map(|name| name.split('.').next().unwrap().to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn scenario_document_has_every_key_and_no_other() {
    let (text, schema) = (document("scenario.md"), schema("scenario"));
    let sections = [
        ("Domain", "domain", "## `[[domain]]`"),
        ("Resource", "resource", "## `[[resource]]`"),
        ("Workload", "workload", "## `[workload]`"),
        ("Workload", "background", "## `[workload]`"),
        ("Run", "run", "## `[run]`"),
        ("Probes", "probes", "## `[probes]`"),
        ("Environment", "environment", "## `[environment]`"),
        ("Threshold", "threshold", "## `[[threshold]]`"),
    ];
    let mut root = tables(&text, "# Scenario files").remove(0);
    for (part, key, heading) in sections {
        assert_eq!(
            tables(&text, heading)[0],
            properties(&schema["$defs"][part]),
            "{heading}"
        );
        assert!(text.contains(&format!("[{key}]")), "{key}");
        root.insert(key.to_owned());
    }
    assert_eq!(root, properties(&schema));
    for name in properties(&schema["$defs"]["End"]) {
        assert!(text.contains(&format!("`left.{name}`")), "{name}");
    }
}

/// The values of an enumeration in a schema.
fn values<'a>(schema: &'a Value, part: &str) -> BTreeSet<&'a str> {
    let values = schema["$defs"][part]["oneOf"].as_array().unwrap();
    values
        .iter()
        .map(|v| v["const"].as_str().unwrap())
        .collect()
}

#[test]
fn documents_have_every_value_of_an_enumeration() {
    let (text, scenario) = (document("scenario.md"), schema("scenario"));
    let kinds = &tables(&text, "## `[workload]`")[1];
    assert_eq!(
        kinds.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        values(&scenario, "WorkloadKind")
    );
    let report = schema("report");
    for (schema, document, part) in [
        (&scenario, "scenario.md", "ResourceKind"),
        (&scenario, "scenario.md", "Mode"),
        (&scenario, "scenario.md", "Operation"),
        (&scenario, "scenario.md", "Statistic"),
        (&schema("compare"), "compare.md", "Side"),
        (&schema("compare"), "compare.md", "NotCompared"),
        (&schema("check"), "check.md", "Metric"),
        (&schema("check"), "check.md", "Status"),
        (&schema("check"), "check.md", "Why"),
        (&schema("check"), "check.md", "Verdict"),
        (&schema("check"), "check.md", "Side"),
        (&report, "report-schema.md", "Component"),
        (&report, "report-schema.md", "Verdict"),
    ] {
        let text = self::document(document);
        for value in values(schema, part) {
            let written = [format!("`{value}`"), format!("`\"{value}\"`")];
            assert!(
                written.iter().any(|written| text.contains(written)),
                "{document}: {part}: {value}"
            );
        }
    }
}

/// Holds every table of a document against its schema's parts; those that are another document's are
/// left out. Returns how many parts there are.
fn check_fields(
    document_name: &str,
    root: &str,
    schema: &Value,
    others: &BTreeSet<String>,
) -> usize {
    let text = document(document_name);
    let parts = schema["$defs"].as_object().unwrap().iter();
    let parts: Vec<_> = parts
        .map(|(name, part)| (name.as_str(), part))
        .chain([(root, schema)])
        .filter(|(name, part)| part["properties"].is_object() && !others.contains(*name))
        .collect();
    for (name, part) in &parts {
        let heading = format!("### {name}\n");
        assert!(text.contains(&heading), "there is no section {name}");
        // With the line's end: `Figures` is not `FiguresOfAnother`.
        let section = text.split_once(&heading).unwrap().1;
        let documented = tables(&format!("{heading}{section}"), "###").remove(0);
        assert_eq!(documented, properties(part), "{name}");
    }
    parts.len()
}

#[test]
fn report_document_has_every_field_and_no_other() {
    let schema = schema("report");
    let none = BTreeSet::new();
    assert!(check_fields("report-schema.md", "Report", &schema, &none) > 15);
}

#[test]
fn check_document_has_every_field_and_no_other() {
    let keys = |of: &str| -> BTreeSet<String> {
        let schema = schema(of);
        schema["$defs"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    let others = keys("report").union(&keys("compare")).cloned().collect();
    let check = schema("check");
    let own: BTreeSet<String> = keys("check").difference(&others).cloned().collect();
    assert!(own.contains("Test"), "{own:?}");
    assert!(check_fields("check.md", "Check", &check, &others) >= 6);
}

#[test]
fn check_document_has_every_key_of_the_policy_and_no_other() {
    let (text, schema) = (document("check.md"), schema("policy"));
    assert_eq!(tables(&text, "## Policy")[0], properties(&schema));
}

#[test]
fn compare_document_has_every_field_and_no_other() {
    let (compare, report) = (schema("compare"), schema("report"));
    let of_report = report["$defs"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert!(check_fields("compare.md", "Comparison", &compare, &of_report) > 10);
}
