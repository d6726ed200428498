//! `cargo xtask lint` and `cargo xtask test`.
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};

use crate::setup::{self, Choice, Version};
use crate::{cargo, shell};

/// The eBPF crate compiles only for a bpf target; `tracer`'s build script compiles it.
const WORKSPACE: [&str; 3] = ["--workspace", "--exclude", "tracer-ebpf"];

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct TestOptions {
    /// Do not install anything: fail when something is missing
    #[arg(long)]
    no_setup: bool,
    /// Run those that take long, too: hours in the lab
    #[arg(long)]
    long: bool,
    /// How many of the slowest tests are listed at the end
    #[arg(long, default_value_t = 20)]
    slowest: usize,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

/// Checks the format and the lints.
pub(crate) fn lint() -> Result<()> {
    lint_with(&setup::toolchain()?)
}

fn lint_with(choice: &Choice) -> Result<()> {
    shell::run(cargo::command(choice)?.args(["fmt", "--all", "--check"]))
        .context("the format differs: run `cargo fmt --all`")?;
    let mut clippy = cargo::command(choice)?;
    clippy
        .arg("clippy")
        .args(WORKSPACE)
        .args(["--all-targets", "--", "-D", "warnings"]);
    shell::run(&mut clippy)
}

/// Lints, then builds every test as this user, then runs them with root's rights.
pub(crate) fn test(options: &TestOptions) -> Result<ExitCode> {
    let choice = if options.no_setup {
        setup::toolchain()?
    } else {
        setup::ensure()?
    };
    lint_with(&choice)?;
    let mut build = cargo::command(&choice)?;
    shell::run(build.arg("test").args(WORKSPACE).arg("--no-run"))?;
    let mut summary = Summary::default();
    let mut success = run_and_count(&mut tests(&choice, options)?, &mut summary)?;
    // Those in the documentation know no times.
    let mut docs = cargo::command(&choice)?;
    docs.arg("test")
        .args(WORKSPACE)
        .args(["--doc", "--no-fail-fast"]);
    docs.args(&options.filter);
    success &= run_and_count(&mut docs, &mut summary)?;
    println!("\n{}\ntests: {summary}", summary.slowest(options.slowest));
    Ok(if success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The command that runs all test binaries, as root.
fn tests(choice: &Choice, options: &TestOptions) -> Result<Command> {
    let mut run = cargo::command(choice)?;
    run.arg("test").args(WORKSPACE);
    run.args(["--lib", "--bins", "--tests", "--no-fail-fast"]);
    run.args(&options.filter);
    if std::io::stdout().is_terminal() {
        run.args(["--color", "always"]);
    }
    // Behind these dashes all is for the tests, not for cargo. Times are an unstable option of theirs.
    run.args(["--", "-Zunstable-options", "--report-time"]);
    if options.long {
        run.arg("--include-ignored");
    }
    let unstable = format!("env {UNSTABLE}=1");
    let runner = if shell::is_root() {
        unstable
    } else {
        eprintln!("sudo: tests that attach eBPF programs need root; they were built as this user");
        format!("sudo -E {unstable}")
    };
    run.env(runner_variable(choice)?, runner);
    Ok(run)
}

/// Cargo's variable for the program that starts tests on this machine's target.
fn runner_variable(choice: &Choice) -> Result<String> {
    let mut rustc = shell::command("rustc");
    rustc.arg("-vV");
    choice.apply(&mut rustc)?;
    let host = Version::parse(&shell::output(&mut rustc)?)?.host;
    Ok(format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_uppercase().replace(['-', '.'], "_")
    ))
}

/// Lets a stable toolchain's tests take unstable options. Only they may have it: compilers heed it, too, and would build
/// everything anew.
const UNSTABLE: &str = "RUSTC_BOOTSTRAP";

/// What all test binaries said together.
#[derive(Debug, Default, PartialEq)]
struct Summary {
    /// Seconds that each test took, and its name.
    times: Vec<(f64, String)>,
    passed: u64,
    failed: u64,
    ignored: u64,
    binaries: u64,
}

impl Summary {
    /// Adds a line `test NAME ... ok <1.234s>` or `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else {
            self.times.extend(time(line));
            return;
        };
        let words: Vec<&str> = counts.split_whitespace().collect();
        let before = |name: &str| -> u64 {
            let at = words.iter().position(|word| word.starts_with(name));
            at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok())
                .unwrap_or(0)
        };
        self.passed += before("passed");
        self.failed += before("failed;");
        self.ignored += before("ignored");
        self.binaries += 1;
    }

    /// The tests that took longest, and how long together.
    fn slowest(&self, count: usize) -> String {
        let mut times: Vec<&(f64, String)> = self.times.iter().collect();
        times.sort_by(|x, y| y.0.total_cmp(&x.0));
        times.truncate(count);
        let sum: f64 = times.iter().map(|(seconds, _)| seconds).sum();
        let lines = times
            .iter()
            .map(|(seconds, name)| format!("{seconds:8.1} s  {name}\n"));
        let lines: String = lines.collect();
        format!("slowest tests, {sum:.0} s together (some wait for others):\n{lines}")
    }
}

/// The seconds that a test took, and its name, from `test NAME ... ok <1.234s>`.
fn time(line: &str) -> Option<(f64, String)> {
    let (name, ended) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let seconds = ended.split_once('<')?.1.split_once("s>")?.0;
    Some((seconds.parse().ok()?, name.into()))
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            times: _,
            passed,
            failed,
            ignored,
            binaries,
        } = self;
        write!(
            f,
            "{passed} passed; {failed} failed; {ignored} ignored; in {binaries} test binaries"
        )
    }
}

/// Shows the output line by line and adds up the results; whether the command succeeded.
fn run_and_count(command: &mut Command, summary: &mut Summary) -> Result<bool> {
    let text = shell::describe(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{text}` could not be started"))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("the tests' output could not be read")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            summary.add(&line);
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("`{text}` could not be waited for"))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_binaries_add_up() {
        let mut summary = Summary::default();
        summary.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        summary.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured");
        summary.add("test probe::tests::x ... ok");
        let expected = Summary {
            times: Vec::new(),
            passed: 7,
            failed: 2,
            ignored: 1,
            binaries: 2,
        };
        assert_eq!(summary, expected);
    }

    #[test]
    fn slowest_tests_come_first() {
        let mut summary = Summary::default();
        summary.add("test quick ... ok <0.001s>");
        summary.add("test lab::slow ... FAILED <61.250s>");
        summary.add("test lab::left_out ... ignored, long: two runs");
        summary.add("test slower ... ok <100.000s>");
        let said = summary.slowest(2);
        assert!(
            said.ends_with("   100.0 s  slower\n    61.2 s  lab::slow\n"),
            "{said}"
        );
        assert!(said.starts_with("slowest tests, 161 s together"), "{said}");
    }
}
