//! The kernel's own account of BPF programs: how often each ran and for how long.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::shell;

const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Time and runs of several programs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct BpfCost {
    pub(super) run_ns: u64,
    pub(super) runs: u64,
}

/// A line of `bpftool -j prog show`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Program {
    id: u32,
    #[serde(default)]
    run_time_ns: u64,
    #[serde(default)]
    run_cnt: u64,
    /// Which processes hold it; older bpftools cannot say.
    #[serde(default)]
    pids: Vec<Holder>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Holder {
    comm: String,
}

/// All programs that are loaded now.
pub(super) fn loaded() -> Result<Vec<Program>> {
    parse(&shell::output(&mut list_command())?)
}

/// The command whose output [`read`] reads.
pub(super) fn list_command() -> std::process::Command {
    let bpftool = shell::find("bpftool").unwrap_or_else(|| "bpftool".into());
    let mut command = shell::command(bpftool);
    command.args(["-j", "prog", "show"]);
    command
}

/// Reads a saved list.
pub(super) fn read(file: &Path) -> Result<Vec<Program>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("bpftool's list {} could not be read", file.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Program>> {
    serde_json::from_str(text).context("`bpftool -j prog show` printed no list of programs")
}

/// What the programs that came since `before` cost, as far as `owner` holds them.
pub(super) fn cost_since(before: &[Program], now: &[Program], owner: &str) -> BpfCost {
    let known: BTreeSet<u32> = before.iter().map(|program| program.id).collect();
    let mut cost = BpfCost::default();
    for program in now.iter().filter(|program| !known.contains(&program.id)) {
        let held = program
            .pids
            .iter()
            .any(|holder| holder.comm.starts_with(owner));
        if program.pids.is_empty() || held {
            cost.run_ns += program.run_time_ns;
            cost.runs += program.run_cnt;
        }
    }
    cost
}

/// Switches the kernel's timing of BPF programs; puts the old setting back when dropped.
#[derive(Debug)]
pub(super) struct StatsSwitch {
    before: String,
}

impl StatsSwitch {
    /// Remembers the setting and switches off.
    pub(super) fn off() -> Result<Self> {
        let before = fs::read_to_string(STATS)
            .with_context(|| format!("{STATS} could not be read: the kernel is older than 5.1"))?;
        let switch = Self { before };
        switch.set(false)?;
        Ok(switch)
    }

    pub(super) fn set(&self, on: bool) -> Result<()> {
        fs::write(STATS, if on { "1" } else { "0" })
            .with_context(|| format!("{STATS} could not be set"))
    }
}

impl Drop for StatsSwitch {
    fn drop(&mut self) {
        if let Err(error) = fs::write(STATS, self.before.trim_end()) {
            eprintln!(
                "warning: {STATS} was not put back to {}: {error}",
                self.before.trim_end()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_programs_of_the_owner_count() {
        let list = |text: &str| parse(text).unwrap();
        let before = list(r#"[{"id": 1, "type": "tracing", "run_time_ns": 5, "run_cnt": 1}]"#);
        let now = list(
            r#"[{"id": 1, "run_time_ns": 900, "run_cnt": 9},
                {"id": 2, "run_time_ns": 100, "run_cnt": 2, "pids": [{"pid": 7, "comm": "bpftrace"}]},
                {"id": 3, "run_time_ns": 30, "run_cnt": 1, "pids": [{"pid": 8, "comm": "other"}]},
                {"id": 4}]"#,
        );
        assert_eq!(
            cost_since(&before, &now, "bpftrace"),
            BpfCost {
                run_ns: 100,
                runs: 2
            }
        );
    }

    #[test]
    fn programs_without_holders_count() {
        let now = parse(r#"[{"id": 2, "run_time_ns": 100, "run_cnt": 2}]"#).unwrap();
        assert_eq!(
            cost_since(&[], &now, "tracer"),
            BpfCost {
                run_ns: 100,
                runs: 2
            }
        );
        assert!(parse("Error: not permitted").is_err());
    }
}
