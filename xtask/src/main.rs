//! `cargo xtask`: set-up, build, run, test, bench and dist.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on its standard output and error"
)]

mod bench;
mod cargo;
mod checks;
mod dist;
mod lab;
mod lock;
mod report;
mod run;
mod setup;
mod shell;
mod signal;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything that this repository does besides compiling.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what building, running and testing need; skips what is there
    Setup(setup::Options),
    /// Build the `tracer` binary with its eBPF programs
    Build {
        /// Optimised, as it is measured and shipped
        #[arg(long)]
        release: bool,
    },
    /// Set up, build and run a scenario with the needed rights
    Run {
        /// The scenario file, such as scenarios/native-disk.toml
        scenario: PathBuf,
        /// Further arguments for `tracer run`, after `--`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Set up, check format and lints, and run the tests
    Test(checks::TestOptions),
    /// Check the format and run clippy, warnings refused
    Lint,
    /// Pack a release: binary, man pages, completions, archive and checksum
    Dist,
    /// A real Xen, Dom0 and guests under QEMU
    Lab {
        #[command(subcommand)]
        command: lab::Command,
    },
    /// Measure what tracing costs, and how far the lab's figures repeat
    Bench {
        #[command(subcommand)]
        benchmark: Option<bench::Benchmark>,
    },
}

/// The tracer's own exit code for wrong usage or environment: 1 would say that a threshold was exceeded.
const NOT_DONE: u8 = 3;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to tell where even this cannot be written.
            let _ = error.print();
            let code = if error.use_stderr() { NOT_DONE } else { 0 };
            return ExitCode::from(code);
        }
    };
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(NOT_DONE)
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Setup(options) => setup::command(&options),
        Command::Build { release } => {
            let binary = cargo::build_tracer(release)?;
            println!("{}", binary.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { scenario, args } => run::command(&scenario, &args),
        Command::Test(options) => checks::test(&options),
        Command::Lint => checks::lint().map(|()| ExitCode::SUCCESS),
        Command::Dist => dist::command().map(|()| ExitCode::SUCCESS),
        Command::Lab { command } => lab::command(command),
        Command::Bench { benchmark } => bench::command(benchmark.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
