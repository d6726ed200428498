//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use tracer_analysis::report::{self, Format};

/// Says where the latency of disk and network I/O goes, step by step.
///
/// Exit codes: 0 well; 1 a threshold was exceeded, or `check-env` found the machine other than wanted;
/// 2 the run (`compare`, `paper`: any run) is partial, or too much of it was lost; 3 wrong usage, or the
/// environment does not allow it (`probes`: a datapath cannot be traced). `report` ends with 0 for any run
/// that it can read. `check`: 0 no regression; 1 a regression, or undecided and the policy does not let that
/// pass; 2 the runs cannot be compared (`baseline save`: are not of a kind), or nothing can be told from them,
/// as points are gone or no figure is firm; 3 wrong usage, or a file cannot be read. TRACER_LOG sets the log's filter, such as `tracer=debug`.
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
    /// Holds runs of a new kernel against a baseline: has any stage become slower, or less steady?
    Check(CheckArgs),
    /// Saves and lists baselines: what later runs are checked against.
    Baseline {
        /// What to do.
        #[command(subcommand)]
        command: BaselineCommand,
    },
    /// Keeps figures of runs over time, and exports them for dashboards.
    History {
        /// What to do.
        #[command(subcommand)]
        command: HistoryCommand,
    },
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

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Runs of the new kernel: run directories, or reports saved as JSON.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// What they are held against: the name of a baseline, a baseline's file, a run directory or a saved report.
    #[arg(long, value_name = "NAME|DIR|FILE")]
    pub baseline: PathBuf,
    /// The folder of baselines.
    #[arg(long, value_name = "DIR", default_value = "baselines")]
    pub store: PathBuf,
    /// What counts as a regression: docs/check.md.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The form.
    #[arg(long, value_enum, default_value = "text")]
    pub format: report::check::Format,
    /// Write to a file instead of standard output.
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// Exit codes for `git bisect run`: 125 where the runs cannot be compared, nothing can be told from them, or the
    /// policy does not let undecided figures pass; 128 on errors.
    #[arg(long)]
    pub bisect: bool,
}

/// What can be done with baselines.
#[derive(Debug, Subcommand)]
pub enum BaselineCommand {
    /// Saves runs of one scenario as a baseline.
    Save(BaselineSaveArgs),
    /// Lists the baselines.
    List(BaselineListArgs),
}

/// Arguments of `baseline save`.
#[derive(Debug, Args)]
pub struct BaselineSaveArgs {
    /// The runs: run directories, or reports saved as JSON.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The baseline's name.
    #[arg(long)]
    pub name: String,
    /// The folder of baselines.
    #[arg(long, value_name = "DIR", default_value = "baselines")]
    pub store: PathBuf,
    /// Replace the baseline of this name, if there is one.
    #[arg(long)]
    pub replace: bool,
    /// The policy of later checks: it may allow more losses.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Arguments of `baseline list`.
#[derive(Debug, Args)]
pub struct BaselineListArgs {
    /// The folder of baselines.
    #[arg(long, value_name = "DIR", default_value = "baselines")]
    pub store: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What can be done with a history.
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Adds runs; one that is there already is written anew.
    Append {
        /// The runs: run directories, or reports saved as JSON.
        #[arg(required = true, value_name = "RUN")]
        runs: Vec<PathBuf>,
        /// The history's folder.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Prints it for another program.
    Export {
        /// The history's folder.
        #[arg(long)]
        dir: PathBuf,
        /// The form.
        #[arg(long, value_enum)]
        format: HistoryFormat,
        /// Write to a file instead of standard output.
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
}

/// A form of history.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum HistoryFormat {
    /// For Prometheus and what reads its text format.
    Openmetrics,
    /// For data frames and query engines.
    Parquet,
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
    /// Checks.
    Check,
    /// Policies of checks.
    Policy,
    /// Baselines.
    Baseline,
}
