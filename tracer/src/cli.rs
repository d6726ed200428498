//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::report::{self, Format};

/// Says where the latency of disk and network I/O goes, step by step.
///
/// Exit codes: 0 well; 1 a threshold was exceeded, or `check-env` found the machine other than wanted;
/// 2 the run (`compare`, `paper`: any run) is partial, or too much of it was lost; 3 wrong usage, or the
/// environment does not allow it (`probes`: a datapath cannot be traced).
#[derive(Debug, Parser)]
#[command(name = "tracer", version, arg_required_else_help = true)]
pub struct Cli {
    /// Say more on standard error; twice: everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a scenario and prints its breakdown.
    Run(RunArgs),
    /// Prints the report of a run again, from its recording.
    #[command(visible_alias = "replay")]
    Report(ReportArgs),
    /// Lays the breakdowns of two runs side by side: which takes longer, and in which stage.
    Compare(CompareArgs),
    /// Draws up figures and tables of the paper from runs of its scenarios.
    Paper(PaperArgs),
    /// Lists the trace points of datapaths: what attaches to this kernel, and why the rest does not.
    Probes(ProbesArgs),
    /// Holds this machine against what a scenario wants of it.
    CheckEnv(CheckEnvArgs),
    /// Prints a JSON schema.
    Schema {
        /// Of what.
        of: SchemaOf,
    },
    /// Prints completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Writes man pages.
    #[command(hide = true)]
    Man {
        /// The folder to write to.
        #[arg(long)]
        out: PathBuf,
    },
    /// Serves the loader of another domain: what runs in a guest.
    Agent(AgentArgs),
    /// Runs one load, described by a line of JSON on standard input.
    #[command(hide = true)]
    Load,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The scenario file.
    pub scenario: PathBuf,
    /// The run directory [default: runs/NAME-TIME].
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Measured iterations, in place of the scenario's.
    #[arg(long)]
    pub iterations: Option<u32>,
    /// A variant that the scenario has; of several, later ones are laid over earlier ones.
    #[arg(long = "profile", value_name = "NAME")]
    pub profiles: Vec<String>,
    /// Change the scenario: dotted key, array elements by number or name.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run directory.
    pub run: PathBuf,
    /// The form.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Write to a file instead of standard output.
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

/// Arguments of `agent`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct AgentArgs {
    /// One loader, over standard input and output (ssh starts it so).
    #[arg(long)]
    pub stdio: bool,
    /// Loaders behind a terminal, such as the /dev/hvcN of a console channel.
    #[arg(long, value_name = "PATH")]
    pub terminal: Option<PathBuf>,
    /// Loaders that connect to a Unix socket, which it makes.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The reference: a run directory, or a report saved as JSON.
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// What is held against it: a run directory, or a report saved as JSON.
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// The form.
    #[arg(long, value_enum, default_value = "text")]
    pub format: report::compare::Format,
    /// Write to a file instead of standard output.
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// Of A, take only breakdowns with this text in their titles.
    #[arg(long, value_name = "TEXT")]
    pub select_a: Option<String>,
    /// Of B, take only breakdowns with this text in their titles. Where one of each side is left, these
    /// are a pair, whatever their datapaths and operations.
    #[arg(long, value_name = "TEXT")]
    pub select_b: Option<String>,
}

/// Arguments of `paper`.
#[derive(Debug, Args)]
pub struct PaperArgs {
    /// Runs of scenarios/paper: run directories, or reports saved as JSON; one of each case at most.
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// The folder to write to: `index.html`, and a CSV file for each figure and table.
    #[arg(long)]
    pub out: PathBuf,
    /// The paper's own values, to stand beside: a copy of scenarios/paper/published.toml, filled in.
    #[arg(long, value_name = "FILE")]
    pub published: Option<PathBuf>,
}

/// Arguments of `probes`.
#[derive(Debug, Args)]
pub struct ProbesArgs {
    /// The datapath; all if not given.
    pub datapath: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `check-env`.
#[derive(Debug, Args)]
pub struct CheckEnvArgs {
    /// The scenario file.
    pub scenario: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What there are schemas of.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SchemaOf {
    /// Scenario files.
    Scenario,
    /// Reports.
    Report,
    /// Comparisons.
    Compare,
}
