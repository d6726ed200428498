//! What `docs/scenario.md` says of the loads' keys is what the checks allow.

use crate::scenario::types::{Scenario, WorkloadKind};

const KINDS: [(&str, WorkloadKind); 6] = [
    ("dd", WorkloadKind::Dd),
    ("tcp-stream", WorkloadKind::TcpStream),
    ("tcp-rr", WorkloadKind::TcpRr),
    ("udp-flood", WorkloadKind::UdpFlood),
    ("cpu", WorkloadKind::Cpu),
    ("command", WorkloadKind::Command),
];

/// The keys that the document gives to some kinds of loads: key, and its column `of`.
fn documented() -> Vec<(&'static str, &'static str)> {
    let text = include_str!("../../../docs/scenario.md");
    let (_, section) = text.split_once("## `[workload]`").unwrap();
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    table
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .flat_map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let of = cells[2];
            cells[1]
                .split(", ")
                .map(move |key| (key.trim_matches('`'), of))
        })
        .filter(|(_, of)| *of != "all")
        .collect()
}

/// Whether a column `of`, such as `tcp-\*, cpu`, means a kind.
fn means(of: &str, kind: &str) -> bool {
    of.split(", ").any(|one| {
        one.strip_suffix("\\*")
            .map_or(one == kind, |prefix| kind.starts_with(prefix))
    })
}

#[test]
fn the_document_gives_each_key_to_the_kinds_that_take_it() {
    let documented = documented();
    let (scenario, _) = Scenario::parse(
        "schema = 1\nname = \"t\"\n[[domain]]\nname = \"native\"\n[workload]\nkind = \"cpu\"\nduration = \"1s\"\n[probes]\ndatapaths = [\"irq\"]\n",
        "t.toml",
        &[],
    )
    .unwrap();
    for (name, kind) in KINDS {
        let (_, taken) = kind.fields();
        for key in scenario.workload.given().keys() {
            let (_, of) = documented
                .iter()
                .find(|(other, _)| other == key)
                .unwrap_or_else(|| panic!("{key} is not documented"));
            assert_eq!(means(of, name), taken.contains(key), "{key} of {name}");
        }
    }
}
