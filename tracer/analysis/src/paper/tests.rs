use std::collections::BTreeSet;

use proptest::prelude::*;
use serde::de::value::{Error, StrDeserializer};

use super::{
    case::{Case, Load, Setup, Workload},
    figure_key::FigureKey,
    published::Published,
    question::digits,
};
use crate::scenario::RunChanges;

fn of(scenario: &str, profiles: &[&str]) -> Result<Case, String> {
    let changes = RunChanges {
        profiles: profiles.iter().map(|name| (*name).to_owned()).collect(),
        overrides: Vec::new(),
    };
    Case::of(scenario, Some(&changes))
}

#[test]
fn names_and_profiles_say_which_case_a_run_is() {
    for (scenario, profiles, workload, setup, load) in [
        (
            "paper-disk-native",
            &[][..],
            Workload::Disk,
            Setup::Native,
            Load::Idle,
        ),
        (
            "paper-disk-native",
            &["quick", "cpu"],
            Workload::Disk,
            Setup::Native,
            Load::Cpu,
        ),
        (
            "paper-disk-vbd",
            &["cpu-both", "quick"],
            Workload::Disk,
            Setup::Vbd,
            Load::CpuBoth,
        ),
        (
            "paper-net-vif",
            &[],
            Workload::Transmit,
            Setup::Vif,
            Load::Idle,
        ),
        (
            "paper-net-vif",
            &["receive", "io"],
            Workload::Receive,
            Setup::Vif,
            Load::Io,
        ),
        (
            "paper-net-passthrough",
            &["rr"],
            Workload::RequestResponse,
            Setup::Passthrough,
            Load::Idle,
        ),
    ] {
        let case = Case {
            workload,
            setup,
            load,
        };
        assert_eq!(of(scenario, profiles), Ok(case), "{scenario} {profiles:?}");
    }
}

#[test]
fn what_is_none_of_the_papers_cases_is_refused_with_the_reason() {
    for (scenario, profiles, why) in [
        ("native-disk", &[][..], "none of scenarios/paper"),
        ("paper-disk-vif", &[], "none of scenarios/paper"),
        ("paper-tape-native", &[], "none of scenarios/paper"),
        ("paper-disk-vbd", &["cpu-dom0", "io"], "one at a time"),
        ("paper-net-vif", &["receive", "rr"], "one at a time"),
        (
            "paper-disk-vbd",
            &["receive"],
            "its profile receive is none",
        ),
        ("paper-disk-vbd", &["cpu"], "no case with the load cpu"),
        ("paper-net-native", &["io"], "no case with the load io"),
        (
            "paper-net-vif",
            &["cpu-dom0"],
            "no case with the load cpu-dom0",
        ),
    ] {
        let error = of(scenario, profiles).unwrap_err();
        assert!(error.contains(why), "{scenario} {profiles:?}: {error}");
    }
    let error = Case::of("paper-disk-vbd", None).unwrap_err();
    assert!(error.contains("make the run again"), "{error}");
}

#[test]
fn there_are_32_cases_each_once() {
    let cases: BTreeSet<Case> = Case::all().collect();
    assert_eq!((Case::all().count(), cases.len()), (32, 32));
    let of_figures: usize = [
        FigureKey::DiskTime,
        FigureKey::Transmit,
        FigureKey::Receive,
        FigureKey::RequestResponse,
    ]
    .into_iter()
    .map(|figure| figure.cases().count())
    .sum();
    assert_eq!(of_figures, 32, "each is in a figure");
}

#[test]
fn keys_are_those_that_files_are_read_by() {
    fn read<'k, T: serde::Deserialize<'k>>(key: &'k str) -> Option<T> {
        T::deserialize(StrDeserializer::<Error>::new(key)).ok()
    }
    for figure in FigureKey::ALL {
        assert_eq!(read(figure.key()), Some(figure));
    }
    for load in Load::ALL {
        assert_eq!(read(load.key()), Some(load));
    }
    for case in Case::all() {
        assert_eq!(read(case.setup.key()), Some(case.setup));
    }
}

#[test]
fn numbers_have_four_digits() {
    for (value, text) in [
        (0.0, "0"),
        (0.001_382_4, "0.001382"),
        (0.4652, "0.4652"),
        (7.0, "7.000"),
        (-12.345_6, "-12.35"),
        (941.24, "941.2"),
        (7002.4, "7002"),
        (1e9, "1.000e9"),
        (-1.6e-4, "-1.600e-4"),
    ] {
        assert_eq!(digits(value), text);
    }
}

#[test]
fn document_names_every_key() {
    let text = include_str!("../../../../docs/paper.md");
    let figures = FigureKey::ALL.into_iter().map(FigureKey::key);
    let loads = Load::ALL.into_iter().map(Load::key);
    for key in figures.chain(loads) {
        assert!(text.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn template_of_published_values_has_none() {
    let text = include_str!("../../../../scenarios/paper/published.toml");
    assert!(Published::parse(text, "published.toml").unwrap().is_empty());
    // Every key that it names is one.
    for line in text.lines().filter(|line| line.starts_with("# [value.")) {
        let table = line.trim_start_matches("# ");
        let text = format!("schema = 1\n{table}\nidle = 1\n");
        let published = Published::parse(&text, "t").unwrap_or_else(|error| panic!("{error}"));
        assert!(!published.is_empty());
    }
}

#[test]
fn published_values_stand_in_their_cases() {
    let text =
        "schema = 1\nsource = \"here\"\n[value.figure-12-transmit.vif]\nidle = 900\nio = 870.5\n";
    let published = Published::parse(text, "t").unwrap();
    let case = of("paper-net-vif", &["io"]).unwrap();
    assert_eq!(published.value(FigureKey::Transmit, case), Some(870.5));
    assert_eq!(published.value(FigureKey::Receive, case), None);
    let idle = of("paper-net-vif", &[]).unwrap();
    assert_eq!(published.value(FigureKey::Transmit, idle), Some(900.0));
}

#[test]
fn wrong_published_values_are_told_with_line_and_key() {
    for (lines, said) in [
        (
            "schema = 2",
            "t:1:10: schema: is 2, and this tracer reads 1",
        ),
        ("values = 1", "t:1:1: values: unknown field"),
        (
            "schema = 1\n[value.figure-13.vbd]\nidle = 1",
            "unknown variant `figure-13`",
        ),
        (
            "schema = 1\n[value.table-2.vdb]\nidle = 1",
            "unknown variant `vdb`",
        ),
        (
            "schema = 1\n[value.table-2.vbd]\nbusy = 1",
            "unknown variant `busy`",
        ),
        (
            "schema = 1\n[value.table-2.native]\nidle = 1\nio = 2",
            "t:4:6: value.table-2.native.io: there is no such case; it has: native.idle, native.cpu",
        ),
        (
            "schema = 1\n[value.table-3.vbd]\nidle = -1",
            "t:3:8: value.table-3.vbd.idle: is -1, and must be a number of us from 0 on",
        ),
        ("schema = 1\n[value.table-3.vbd]\nidle = nan", "is NaN"),
        ("schema = 1\n[value.table-3.vbd]\nidle = \"1\"", "t:3:8"),
        (
            "schema = 1\n[value.request-response.vif]\nidle = 1",
            "the paper does not have it",
        ),
        ("[value", "t:1:"),
        ("", "missing field `schema`"),
    ] {
        let error = Published::parse(lines, "t").unwrap_err().to_string();
        assert!(error.contains(said), "{lines}: {error}");
        assert!(error.starts_with("t"), "{error}");
    }
}

/// A case of a figure that the paper has.
fn place() -> impl Strategy<Value = (FigureKey, Case)> {
    let places: Vec<(FigureKey, Case)> = FigureKey::ALL
        .into_iter()
        .filter(|figure| figure.is_in_paper())
        .flat_map(|figure| figure.cases().map(move |case| (figure, case)))
        .collect();
    prop::sample::select(places)
}

proptest! {
    #[test]
    fn whatever_the_file_says_it_is_read_or_refused(text in "\\PC*") {
        let _ = Published::parse(&text, "t");
    }

    #[test]
    fn what_looks_like_values_is_read_or_refused(
        lines in prop::collection::vec(
            prop::sample::select(&[
                "schema = 1", "[value]", "[value.table-2.vbd]", "[value.figure-12-receive.vif]", "idle = 1",
                "io = -1e308", "io = inf", "cpu = 0", "source = \"x\"", "[[value]]", "value = 3", "idle = []",
            ][..]),
            0..8,
        ),
    ) {
        let _ = Published::parse(&lines.join("\n"), "t");
    }

    #[test]
    fn a_good_value_is_read_as_it_was_written(
        (figure, case) in place(),
        value in 0.0..1e12f64,
    ) {
        let text = format!(
            "schema = 1\n[value.{}.{}]\n{} = {value:?}\n",
            figure.key(), case.setup.key(), case.load.key()
        );
        let published = Published::parse(&text, "t").unwrap();
        prop_assert_eq!(published.value(figure, case), Some(value));
    }
}
