//! The `tracer` command: parse, do, say what went wrong, exit.

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use tracer::{cli::Cli, commands};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                // To `git bisect run`, 3 would be a bad commit.
                let bisects = std::env::args_os().any(|argument| argument == "--bisect");
                ExitCode::from(if bisects {
                    commands::ABORT
                } else {
                    commands::USAGE
                })
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    start_log(cli.verbose);
    match commands::obey(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            commands::complain(&error);
            ExitCode::from(commands::USAGE)
        }
    }
}

fn start_log(verbose: u8) {
    let level = ["info", "debug", "trace"][usize::from(verbose.min(2))];
    let filter = tracing_subscriber::EnvFilter::try_from_env("TRACER_LOG")
        .unwrap_or_else(|_| format!("warn,tracer={level}").into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}
