//! `cargo xtask`: set-up, build, run, test, bench and dist.

mod bench;
mod build;
mod dist;
mod process;
mod setup;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Set-up, build, run, test, bench and dist of tracer"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what building, running and testing need, and says what it does.
    Setup {
        /// Only says what is missing; fails if anything is.
        #[arg(long)]
        check: bool,
    },
    /// Builds the eBPF programs and the tracer.
    Build,
    /// Set-up, build, and `tracer run` with the rights it needs.
    Run {
        /// The scenario file, and further arguments of `tracer run`.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Set-up, formatting, lints, and every test.
    Test {
        /// Arguments for `cargo test`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Formatting and lints.
    Lint,
    /// Benchmarks.
    Bench {
        #[command(subcommand)]
        what: bench::What,
    },
    /// Builds a package: the program, man pages, completions.
    Dist,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Setup { check } => setup::setup(check).map(drop),
        Task::Build => build::release().map(drop),
        Task::Run { args } => return run(&args),
        Task::Test { args } => test::test(&args),
        Task::Lint => setup::setup(false).and_then(|tools| test::lint(&tools)),
        Task::Bench { what } => bench::bench(&what),
        Task::Dist => dist::dist(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// `tracer run` with its own exit code.
fn run(args: &[String]) -> ExitCode {
    match build::release().and_then(|tracer| process::as_root(&tracer, "run", args)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "errors of a command go to standard error"
)]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("xtask: {error:#}");
    ExitCode::from(3)
}
