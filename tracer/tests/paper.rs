//! The paper's page and CSV files from reports that are made up, against files that people have read
//! (`TRACER_BLESS=1` writes them anew); what they say of the open questions; what the command refuses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, path::Path};

use support::{assert_golden, passed};
use tracer_analysis::{
    BreakdownBuilder, Names, Report,
    compare::Input,
    document::{DomainReport, InterruptFigures, InterruptIteration, Iteration},
    paper::{Paper, Published, question::Outcome},
    recording::host::HostFacts,
    report::paper::render,
    scenario::RunChanges,
    span::{Span, taken::Taken},
};
use tracer_common::point::Point;

/// Requests of an iteration.
const REQUESTS: u64 = 60;

/// A run that is made up: its scenario and profiles, and how long things take.
#[derive(Clone, Copy)]
struct Made {
    scenario: &'static str,
    profiles: &'static [&'static str],
    iterations: u64,
    /// Of the device, in microseconds.
    device_us: u64,
    /// From one iteration to the next, in microseconds a request.
    drift_us: u64,
    /// TCP segments sent again in an iteration.
    retransmits: u64,
}

const IDLE: Made = Made {
    scenario: "paper-disk-native",
    profiles: &[],
    iterations: 5,
    device_us: 900,
    drift_us: 3,
    retransmits: 0,
};

impl Made {
    fn is_disk(self) -> bool {
        self.scenario.starts_with("paper-disk")
    }

    fn setup(self) -> &'static str {
        self.scenario.rsplit('-').next().unwrap()
    }

    fn domain(self) -> &'static str {
        match self.setup() {
            setup @ ("native" | "dom0") => setup,
            _ => "B",
        }
    }

    fn datapath(self) -> &'static str {
        let class = match (self.is_disk(), self.profiles.contains(&"receive")) {
            (true, _) => "disk",
            (_, true) => "net-rx",
            _ => "net-tx",
        };
        let setup = if self.setup() == "dom0" {
            "passthrough"
        } else {
            self.setup()
        };
        let known = tracer_analysis::datapath::DATAPATHS.iter();
        let mut names = known.map(|path| path.name);
        names
            .find(|name| *name == format!("{class}/{setup}"))
            .unwrap()
    }

    /// Points of a request, and the nanoseconds before each.
    fn steps(self, number: u64, iteration: u64) -> Vec<(Point, u64)> {
        let device = 1_000 * (self.device_us + iteration * self.drift_us) + number % 13 * 700;
        let upcall = (Point::EvtchnUpcall, 4_000 + number % 3 * 500);
        let mut steps = if self.is_disk() {
            vec![
                (Point::BlkQueue, 0),
                (Point::BlkGetrq, 900 + number % 7 * 10),
                (Point::BlkInsert, 500),
                (Point::BlkIssue, 2_000 + number % 11 * 25),
                (Point::IrqEntry, device),
                (Point::BlkComplete, 3_000),
                (Point::SchedWaking, 400),
                (Point::SchedSwitch, 6_000),
            ]
        } else {
            vec![
                (Point::SockSend, 0),
                (Point::NetQueue, 900 + number % 7 * 10),
                (Point::NetXmit, 500),
                (Point::IrqEntry, device),
                (Point::NetTxComplete, 3_000),
            ]
        };
        let interrupt = steps
            .iter()
            .position(|step| step.0 == Point::IrqEntry)
            .unwrap();
        if self.setup() != "native" {
            steps[interrupt].1 = 1_000;
            steps.insert(interrupt, (upcall.0, upcall.1 + device));
        }
        if self.setup() == "vbd" {
            steps.insert(interrupt, (Point::BlkfrontPush, 7_000));
        }
        steps
    }

    fn span(self, number: u64) -> Span {
        let iteration = number / REQUESTS;
        let steps = self.steps(number, iteration);
        Span {
            datapath: self.datapath(),
            iteration: u32::try_from(iteration).unwrap(),
            device: if self.is_disk() { 8 << 20 } else { 2 },
            operation: if self.is_disk() { 0 } else { 6 },
            flags: 0,
            bytes: 131_072,
            tid: 77,
            irq: 36,
            position: number * 256,
            points: passed(10_000_000 * number, steps).collect(),
            taken: Taken::default(),
        }
    }

    fn iteration(self, index: u64) -> Iteration {
        let request_us = self.device_us + 20 + index * self.drift_us;
        let (duration_ns, bytes) = if self.is_disk() {
            (8_000 * 1_000 * request_us, 8_000 * 131_072)
        } else {
            (10_000_000_000, 1 << 30)
        };
        let mut iteration = Iteration {
            index: u32::try_from(index).unwrap(),
            duration_ns,
            operations: 8_000,
            bytes,
            ..Iteration::default()
        };
        if !self.is_disk() {
            let bits = 9e11 / request_us as f64;
            iteration.extra = [
                ("bits_per_second".into(), bits.into()),
                ("retransmits".into(), (self.retransmits + index % 2).into()),
            ]
            .into();
        }
        iteration
    }

    fn interrupt(self, irq: u32, name: &str, count: u64) -> InterruptFigures {
        let iterations = (0..self.iterations).map(|index| InterruptIteration {
            count: count + index,
            handler_total_ns: (count + index) * 4_000,
        });
        InterruptFigures {
            domain: self.domain().into(),
            irq,
            name: name.into(),
            count: count * self.iterations,
            iterations: iterations.collect(),
            ..InterruptFigures::default()
        }
    }

    fn report(self) -> Report {
        let mut builder = BreakdownBuilder::new(10);
        (0..self.iterations * REQUESTS).for_each(|number| builder.add(&self.span(number)));
        let breakdowns = builder.finish(&Names {
            domain: self.domain().into(),
            devices: [(8 << 20, "sda".into())].into(),
            interfaces: [(2, "eth0".into())].into(),
            ..Names::default()
        });
        Report {
            schema: "tracer.report/1".into(),
            version: "0".into(),
            scenario: self.scenario.into(),
            question: "Is <b>this</b> escaped?".into(),
            started: "2026-01-02T00:00:00Z".into(),
            changes: Some(RunChanges {
                profiles: self.profiles.iter().map(|name| (*name).into()).collect(),
                overrides: Vec::new(),
            }),
            host: HostFacts {
                kernel: "6.12".into(),
                cpu_model: "a <CPU>".into(),
                cpus: 2,
                ..HostFacts::default()
            },
            breakdowns,
            iterations: (0..self.iterations)
                .map(|index| self.iteration(index))
                .collect(),
            interrupts: vec![
                self.interrupt(36, "ahci & co", 7_000),
                self.interrupt(4, "timer", 900),
            ],
            domains: vec![DomainReport {
                name: self.domain().into(),
                spans: self.iterations * REQUESTS,
                ..DomainReport::default()
            }],
            ..Report::default()
        }
    }
}

/// A case of disks.
fn disk(scenario: &'static str, profiles: &'static [&'static str], device_us: u64) -> Made {
    Made {
        scenario,
        profiles,
        device_us,
        ..IDLE
    }
}

/// Dom0 faster than native, vbd slower than passthrough and steadier under load, passthrough's stream slower
/// under load.
fn runs() -> Vec<Made> {
    vec![
        disk("paper-disk-native", &[], 900),
        disk("paper-disk-dom0", &[], 700),
        disk("paper-disk-passthrough", &["quick"], 950),
        Made {
            drift_us: 90,
            ..disk("paper-disk-vbd", &[], 1_300)
        },
        Made {
            drift_us: 1,
            ..disk("paper-disk-vbd", &["io"], 1_900)
        },
        disk("paper-net-passthrough", &[], 800),
        Made {
            retransmits: 30,
            ..disk("paper-net-passthrough", &["io"], 1_100)
        },
    ]
}

fn input(made: Made) -> Input {
    Input {
        source: format!("runs/<{}>-{}", made.scenario, made.profiles.join("-")),
        report: made.report(),
        max_lost_share: 0.01,
        warns_of_losses: false,
    }
}

fn paper(runs: &[Made], published: &str) -> Paper {
    let published = Published::parse(published, "t").unwrap();
    Paper::new(runs.iter().copied().map(input).collect(), published).unwrap()
}

/// The values are made up, too.
const PUBLISHED: &str = "schema = 1\nsource = \"a <made up> paper\"\n[value.figures-6-9-time.native]\nidle = 7.0\n[value.figures-6-9-time.vbd]\nidle = 12.5\ncpu-both = 20\n[value.figure-12-transmit.passthrough]\nidle = 941\n[value.table-2.native]\nidle = 7777\n";

#[test]
fn page_and_tables_are_what_people_have_read() {
    let paper = paper(&runs(), PUBLISHED);
    let files = render(&paper).unwrap();
    assert_eq!(files.len(), 12);
    for (name, bytes) in &files {
        let text = String::from_utf8(bytes.clone()).unwrap();
        if let "index.html" | "figures-6-9-time.csv" | "table-3.csv" | "figure-12-transmit.csv" =
            name.as_str()
        {
            assert_golden(&format!("paper-{name}"), &text);
        }
    }
}

fn page(paper: &Paper) -> String {
    let (_, bytes) = render(paper).unwrap().into_iter().next().unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn page_needs_nothing_else_and_believes_no_name() {
    let page = page(&paper(&runs(), PUBLISHED));
    for foreign in ["<script", "<link", "src=", "http://", "https://", "@import"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("a &lt;CPU&gt;") && !page.contains("<CPU>"));
    assert!(page.contains("runs/&lt;paper-disk-vbd&gt;"));
    assert!(page.contains("a &lt;made up&gt; paper"));
    assert_eq!(page.matches("<svg class=\"chart\"").count(), 11);
    assert_eq!(page.matches("<desc id=").count(), 11);
    for number in ["NaN", "inf<", ">inf"] {
        assert!(!page.contains(number), "{number}");
    }
}

#[test]
fn cases_that_were_not_run_are_on_the_page() {
    let page = page(&paper(&runs()[..1], "schema = 1"));
    assert!(page.contains("31 of 32 cases were not run"), "{page}");
    assert!(page.contains("not given") && page.contains("--published FILE"));
    let nothing = self::page(&paper(&[], "schema = 1"));
    assert!(nothing.contains("32 of 32 cases were not run"));
}

#[test]
fn ratios_are_of_the_same_amount_of_work() {
    let mut short = input(IDLE);
    for iteration in &mut short.report.iterations {
        iteration.bytes /= 8;
    }
    for (input, has_ratio) in [(short, false), (input(IDLE), true)] {
        let published = Published::parse(PUBLISHED, "t").unwrap();
        let paper = Paper::new(vec![input], published).unwrap();
        let bar = &paper.figures[0].bars[0];
        assert_eq!(bar.published, Some(7.0));
        assert_eq!(bar.ratio.is_some(), has_ratio, "{bar:?}");
        assert_eq!(bar.notes.is_empty(), has_ratio);
    }
}

#[test]
fn open_questions_are_answered_from_the_runs() {
    let of = |runs: &[Made]| -> Vec<Outcome> {
        let questions = paper(runs, "schema = 1").questions;
        questions.into_iter().map(|q| q.outcome).collect()
    };
    let found = of(&runs());
    use Outcome::{Measured, NotReproduced, Reproduced};
    assert_eq!(found, [Reproduced, Reproduced, Reproduced, Measured]);
    let mut other = runs();
    other[1].device_us = 900;
    other[4].drift_us = 90;
    other[6].device_us = 700;
    let found = of(&other);
    assert_eq!(
        found,
        [NotReproduced, NotReproduced, NotReproduced, Measured]
    );
    let found = of(&[]);
    assert!(
        found
            .iter()
            .all(|outcome| matches!(outcome, Outcome::CannotTell(_)))
    );
    let mut single = runs();
    for run in &mut single {
        run.iterations = 1;
    }
    let found = of(&single);
    for outcome in &found[..3] {
        assert!(matches!(outcome, Outcome::CannotTell(_)), "{outcome:?}");
    }
}

#[test]
fn evidence_names_stages_and_components() {
    let paper = paper(&runs(), "schema = 1");
    let evidence = |index: usize| paper.questions[index].evidence.join("\n");
    assert!(evidence(0).contains("B takes"), "{}", evidence(0));
    assert!(evidence(1).contains("more when idle"), "{}", evidence(1));
    assert!(
        evidence(2).contains("as the paper suspects"),
        "{}",
        evidence(2)
    );
    let costs = evidence(3);
    assert!(
        costs.contains("the component that costs most more is"),
        "{costs}"
    );
    assert!(costs.contains("not run: transmit, vif, idle"), "{costs}");
    for question in &paper.questions {
        assert!(!question.tables.is_empty());
    }
}

/// A folder with saved reports, and the command's exit code and talk.
fn command(folder: &Path, reports: &[(&str, &Report)], args: &[&str]) -> (i32, String) {
    for (name, report) in reports {
        fs::write(folder.join(name), serde_json::to_vec(report).unwrap()).unwrap();
    }
    let output = support::tracer()
        .current_dir(folder)
        .arg("paper")
        .args(args)
        .output()
        .unwrap();
    assert!(output.stdout.is_empty(), "data are in files");
    let words = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), words)
}

#[test]
fn command_writes_a_page_and_a_file_for_each_figure() {
    let folder = tempfile::tempdir().unwrap();
    let (native, dom0) = (runs()[0].report(), runs()[1].report());
    fs::write(folder.path().join("values.toml"), PUBLISHED).unwrap();
    let (code, words) = command(
        folder.path(),
        &[("a.json", &native), ("b.json", &dom0)],
        &[
            "a.json",
            "b.json",
            "--out",
            "deep/page",
            "--published",
            "values.toml",
        ],
    );
    assert_eq!(code, 0, "{words}");
    let out = folder.path().join("deep/page");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 12);
    let csv = fs::read_to_string(out.join("figures-6-9-time.csv")).unwrap();
    assert_eq!(csv.lines().count(), 18, "a head and 17 cases");
    assert!(csv.contains(",not run,"), "{csv}");
}

/// A recording of the lab, as a run of the paper's scenario.
#[test]
fn run_directories_are_read_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/disk-vbd");
    for entry in fs::read_dir(recording).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let edit = |name: &str, old: &str, new: &str| {
        let path = folder.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{text}");
        fs::write(path, text.replacen(old, new, 1)).unwrap();
    };
    edit(
        "scenario.toml",
        "name = \"disk-vbd\"",
        "name = \"paper-disk-vbd\"",
    );
    let args = [".", "--out", "page"];
    let (code, words) = command(folder.path(), &[], &args);
    assert_eq!(code, 3, "{words}");
    assert!(words.contains("which profiles were applied"), "{words}");
    let changes = "{\"changes\": {\"profiles\": [\"io\"], \"overrides\": [\"run.iterations=1\"]},";
    edit("manifest.json", "{", changes);
    let (code, words) = command(folder.path(), &[], &args);
    assert_eq!(code, 0, "{words}");
    let page = fs::read_to_string(folder.path().join("page/index.html")).unwrap();
    assert!(page.contains("--profile io --set run.iterations=1"));
    let table = fs::read_to_string(folder.path().join("page/table-2.csv")).unwrap();
    let row = table
        .lines()
        .find(|line| line.contains(",vbd,io,"))
        .unwrap();
    assert!(row.contains("complete"), "{row}");
}

#[test]
fn runs_that_are_partial_or_lost_too_much_are_shown_and_end_with_2() {
    let partial = Report {
        partial: Some("interrupted <here>".into()),
        ..IDLE.report()
    };
    let mut lossy = IDLE.report();
    lossy.domains[0].lost_share = 0.05;
    for (report, said) in [
        (&partial, "partial run: interrupted &lt;here&gt;"),
        (&lossy, "5.0% of its requests were lost"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let args = ["a.json", "--out", "page"];
        let (code, words) = command(folder.path(), &[("a.json", report)], &args);
        assert_eq!(code, 2, "{words}");
        let page = fs::read_to_string(folder.path().join("page/index.html")).unwrap();
        assert!(page.contains(&format!("disk reads, native, idle: {said}")));
    }
}

#[test]
fn what_makes_no_page_is_refused_with_the_reason() {
    let native = IDLE.report();
    let foreign = Report {
        scenario: "native-disk".into(),
        ..IDLE.report()
    };
    let old = Report {
        changes: None,
        ..IDLE.report()
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("wrong.toml"),
        "schema = 1\n[value.table-2.native]\nio = 1\n",
    )
    .unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let reports = [
        ("a.json", &native),
        ("b.json", &native),
        ("c.json", &foreign),
        ("d.json", &old),
    ];
    for (args, said) in [
        (
            &["a.json", "b.json", "--out", "page"][..],
            "a.json and b.json are the same case (disk reads, native, idle)",
        ),
        (
            &["c.json", "--out", "page"],
            "c.json is none of the paper's runs: its scenario is \"native-disk\"",
        ),
        (&["d.json", "--out", "page"], "make the run again"),
        (&["nowhere", "--out", "page"], "cannot read nowhere"),
        (
            &["a.json", "--out", "page", "--published", "wrong.toml"],
            "wrong.toml:3:6: value.table-2.native.io: there is no such case",
        ),
        (
            &["a.json", "--out", "page", "--published", "no.toml"],
            "no.toml: cannot read the published values",
        ),
        (&["a.json", "--out", "file"], "cannot make file"),
        (&["--out", "page"], "required"),
        (&["a.json"], "--out"),
    ] {
        let (code, words) = command(folder.path(), &reports, args);
        assert_eq!(code, 3, "{words}");
        assert!(words.contains(said), "{args:?}: {words}");
        assert!(!folder.path().join("page").exists(), "nothing is written");
    }
}
