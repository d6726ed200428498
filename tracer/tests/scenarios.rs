//! Scenario files: the shipped ones are good, wrong ones are told where and why, and nothing panics.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it was skipped"
)]

use std::{fs, path::Path};

use tracer_analysis::scenario::{Changes, Scenario};
use tracer_analysis::toml_file::TomlError;

fn parse(text: &str, file: &str, overrides: &[String]) -> Result<(Scenario, String), TomlError> {
    let profiles = &[];
    Scenario::parse(
        text,
        file,
        Changes {
            profiles,
            overrides,
        },
    )
}

fn shipped() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .map(|path| {
            (
                path.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    assert!(files.len() >= 5);
    files
}

#[test]
fn shipped_scenarios_are_good() {
    for (name, text) in shipped() {
        let (scenario, _) = parse(&text, &name, &[]).unwrap();
        assert!(!scenario.question.is_empty(), "{name}");
    }
}

const GOOD: &str = "schema = 1
name = \"t\"
[[domain]]
name = \"native\"
[[resource]]
name = \"disk\"
kind = \"loop\"
size = \"64MiB\"
[workload]
kind = \"dd\"
target = \"@disk\"
block_size = \"4KiB\"
count = 10
[probes]
datapaths = [\"disk/native\"]
";

fn error(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    parse(&GOOD.replacen(from, to, 1), "t.toml", &[])
        .unwrap_err()
        .to_string()
}

#[test]
fn errors_name_line_field_and_what_is_allowed() {
    let cases = [
        ("count = 10", "cuont = 10", "t.toml:13:1", "cuont", "count"),
        (
            "kind = \"dd\"",
            "kind = \"ddd\"",
            "t.toml:10:8",
            "workload.kind",
            "tcp-rr",
        ),
        (
            "\"@disk\"",
            "\"@disc\"",
            "t.toml:11:10",
            "workload.target",
            "allowed: @disk",
        ),
        (
            "\"4KiB\"",
            "\"4 apples\"",
            "t.toml:12:14",
            "workload.block_size",
            "128KiB",
        ),
        (
            "\"disk/native\"",
            "\"disk/vbdd\"",
            "t.toml:15:14",
            "probes.datapaths.0",
            "disk/native",
        ),
        (
            "schema = 1",
            "schema = 2",
            "t.toml:1:10",
            "schema",
            "schema 1",
        ),
        (
            "count = 10",
            "count = 0",
            "t.toml:13:9",
            "workload.count",
            "at least 1",
        ),
        (
            "count = 10",
            "count = 10\nrate = 5",
            "t.toml:14:8",
            "workload.rate",
            "does not belong",
        ),
        (
            "size = \"64MiB\"",
            "size = 100",
            "t.toml:8:8",
            "resource.0.size",
            "multiple of 512",
        ),
        (
            "name = \"native\"",
            "name = \"native\"\nagent = \"rsh:x\"",
            "t.toml:5:9",
            "domain.0.agent",
            "\"ssh:[USER@]HOST\"",
        ),
        (
            "name = \"native\"",
            "name = \"native\"\nagent = \"ssh:x\"",
            "t.toml:12:10",
            "workload.target",
            "a path there",
        ),
    ];
    for (from, to, place, field, allowed) in cases {
        let error = error(from, to);
        assert!(error.starts_with(place), "{to}: {error}");
        assert!(error.contains(field), "{to}: {error}");
        assert!(error.contains(allowed), "{to}: {error}");
    }
}

#[test]
fn overrides_change_fields_by_number_and_name() {
    let set = [
        "workload.count=7".into(),
        "resource.disk.size=1MiB".into(),
        "resource.0.name=disk".into(),
    ];
    let (scenario, text) = parse(GOOD, "t.toml", &set).unwrap();
    assert_eq!(scenario.workload.count, Some(7));
    assert_eq!(scenario.resource[0].size.unwrap().0, 1 << 20);
    assert_eq!(
        parse(&text, "again", &[]).unwrap().0.workload.count,
        Some(7)
    );
    for wrong in [
        "nonsense",
        "=1",
        "workload..x=1",
        "resource.nothing.size=1",
        "workload.count.x=1",
        "workload.count=x",
    ] {
        let error = parse(GOOD, "t.toml", &[wrong.into()])
            .unwrap_err()
            .to_string();
        assert!(error.contains("--set"), "{wrong}: {error}");
    }
}

#[test]
fn errors_with_overrides_name_no_line_that_the_file_does_not_have() {
    let wrong_key = GOOD.replace("count", "cuont");
    for (text, set, start) in [
        (
            GOOD,
            "workload.count=0",
            "t.toml with --set: workload.count: is 0",
        ),
        (
            GOOD,
            "workload.cuont=1",
            "t.toml with --set: workload.cuont: unknown",
        ),
        // The file's own error is told of the file.
        (
            &wrong_key,
            "run.iterations=1",
            "t.toml:13:1: workload.cuont: unknown",
        ),
    ] {
        let error = parse(text, "t.toml", &[set.into()])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(start), "{set}: {error}");
    }
}

#[test]
fn no_number_of_iterations_overflows() {
    for set in [
        "run.warm_up=4294967295",
        "run.iterations=4294967295",
        "run.iterations=0",
    ] {
        let error = parse(GOOD, "t.toml", &[set.into()])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("allowed: ") && error.contains("100000"),
            "{error}"
        );
    }
}

/// `SplitMix64`: the same mutations every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % (limit.max(1) as u64)).unwrap()
    }
}

fn mutate(text: &str, random: &mut Random) -> String {
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    for _ in 0..=random.below(3) {
        let at = random.below(lines.len());
        match random.below(6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[random.below(lines.len())].clone()),
            2 => {
                let values = [
                    "-1",
                    "1e99",
                    "\"\"",
                    "[]",
                    "{}",
                    "true",
                    "99999999999999999999",
                    "\"@\"",
                    "\"@x.y\"",
                    "nan",
                    "'\\'",
                ];
                if let Some((key, _)) = lines[at].clone().split_once('=') {
                    lines[at] = format!("{key}= {}", values[random.below(values.len())]);
                }
            }
            3 => {
                let mut characters: Vec<char> = lines[at].chars().collect();
                if !characters.is_empty() {
                    let place = random.below(characters.len());
                    characters[place] =
                        ['"', '[', ']', '=', '\u{0}', 'ä', '#', '.'][random.below(8)];
                    lines[at] = characters.into_iter().collect();
                }
            }
            4 => {
                let keep = random.below(20);
                lines[at] = lines[at].chars().take(keep).collect();
            }
            _ => {
                let other = random.below(lines.len());
                lines.swap(at, other);
            }
        }
        if lines.is_empty() {
            break;
        }
    }
    lines.join("\n")
}

#[test]
fn a_thousand_mutated_scenarios_are_read_or_refused() {
    let files = shipped();
    let mut random = Random(1);
    let (mut good, mut refused) = (0, 0);
    for number in 0..1000 {
        let text = mutate(&files[number % files.len()].1, &mut random);
        match parse(&text, "mutated.toml", &[]) {
            Ok(_) => good += 1,
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.starts_with("mutated.toml") && error.len() > 20,
                    "{error}"
                );
                refused += 1;
            }
        }
    }
    assert!(good > 20 && refused > 200, "{good} good, {refused} refused");
}
