//! What a run does to guests through the toolstack, `xl`, and how that is put back: guests that it
//! creates, the CPUs of virtual CPUs, devices that it takes away from Dom0.

use std::{thread, time::Duration};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::{
    platform::guest::{Guest, output},
    resource::ledger::{Entry, Ledger},
    scenario::types::Domain,
};

/// How long a guest may take to shut down before it is destroyed.
const SHUTDOWN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(500);
/// As `xl` calls Dom0.
const DOM0: &str = "Domain-0";

/// Something to put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Change {
    /// A guest was created.
    Created(String),
    /// A device was taken away from its driver in Dom0.
    Assignable(String),
    /// A virtual CPU was bound to other CPUs.
    Pinned {
        /// The guest.
        guest: String,
        /// The virtual CPU.
        vcpu: u32,
        /// Where it might run before, as `xl` writes it.
        cpus: String,
    },
    /// The number of virtual CPUs was changed.
    Vcpus {
        /// The guest.
        guest: String,
        /// How many were on.
        count: usize,
    },
}

impl Change {
    /// Puts it back.
    pub(super) fn undo(&self) -> anyhow::Result<()> {
        match self {
            Self::Created(guest) => end(guest),
            Self::Assignable(device) => {
                let listed = output("xl", &["pci-assignable-list"])?;
                if has_device(&listed, device) {
                    output("xl", &["pci-assignable-remove", "-r", device])?;
                }
                Ok(())
            }
            Self::Pinned { guest, .. } | Self::Vcpus { guest, .. } if !exists(guest) => Ok(()),
            Self::Pinned { guest, vcpu, cpus } => {
                output("xl", &["vcpu-pin", guest, &vcpu.to_string(), cpus]).map(drop)
            }
            Self::Vcpus { guest, count } => {
                output("xl", &["vcpu-set", guest, &count.to_string()]).map(drop)
            }
        }
    }
}

/// Does what a scenario wants of a domain before the run, each step written down before it is done.
///
/// # Errors
/// If the toolstack refuses it; what was done is put back when the ledger is dropped.
pub(super) fn prepare(domain: &Domain, ledger: &mut Ledger) -> anyhow::Result<()> {
    let guest = name(domain);
    for device in &domain.pci {
        let listed = output("xl", &["pci-assignable-list"])?;
        if !has_device(&listed, device) {
            ledger.note(&Entry::Guest(Change::Assignable(device.clone())))?;
            output("xl", &["pci-assignable-add", device])?;
        }
    }
    if let Some(file) = &domain.create {
        if exists(guest) {
            bail!("guest {guest} runs already: end it, or leave `create` out");
        }
        ledger.note(&Entry::Guest(Change::Created(guest.into())))?;
        tracing::info!("creating guest {guest}");
        output("xl", &["create", "-q", file, &format!("name=\"{guest}\"")])?;
    }
    if let Some(count) = domain.vcpus {
        let before = vcpus(guest)?.len();
        if before != count as usize {
            ledger.note(&Entry::Guest(Change::Vcpus {
                guest: guest.into(),
                count: before,
            }))?;
            output("xl", &["vcpu-set", guest, &count.to_string()])?;
        }
    }
    pin(guest, &domain.vcpu_pin, ledger)
}

/// As `xl` calls a domain.
fn name(domain: &Domain) -> &str {
    if domain.agent == "local" {
        DOM0
    } else {
        domain.guest.as_ref().unwrap_or(&domain.name)
    }
}

fn pin(guest: &str, wanted: &[String], ledger: &mut Ledger) -> anyhow::Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let before = vcpus(guest)?;
    for (vcpu, cpus) in (0u32..).zip(wanted) {
        let (_, old) = before
            .iter()
            .find(|(number, _)| *number == vcpu)
            .with_context(|| format!("guest {guest} has no virtual CPU {vcpu} to pin"))?;
        ledger.note(&Entry::Guest(Change::Pinned {
            guest: guest.into(),
            vcpu,
            cpus: old.clone(),
        }))?;
        output("xl", &["vcpu-pin", guest, &vcpu.to_string(), cpus])?;
    }
    Ok(())
}

fn exists(guest: &str) -> bool {
    guest == DOM0 || Guest::find(guest).is_ok()
}

/// Shuts a guest down; one that does not go is destroyed.
fn end(guest: &str) -> anyhow::Result<()> {
    if !exists(guest) {
        return Ok(());
    }
    if output("xl", &["shutdown", guest]).is_ok() {
        let turns = SHUTDOWN.as_millis() / POLL.as_millis();
        for _ in 0..turns {
            thread::sleep(POLL);
            if !exists(guest) {
                return Ok(());
            }
        }
    }
    output("xl", &["destroy", guest]).map(drop)
}

/// Whether `xl pci-assignable-list` names a device, with or without its domain of 0000.
fn has_device(listed: &str, device: &str) -> bool {
    let short = |text: &str| text.trim().trim_start_matches("0000:").to_ascii_lowercase();
    listed.lines().any(|line| short(line) == short(device))
}

/// The virtual CPUs of a guest that are on, and where each may run.
fn vcpus(guest: &str) -> anyhow::Result<Vec<(u32, String)>> {
    Ok(parse_vcpus(&output("xl", &["vcpu-list", guest])?))
}

/// Lines such as `B   2   0   2   -b-   52.2  2 / all`: name, id, number, CPU, state, time, affinity.
fn parse_vcpus(listed: &str) -> Vec<(u32, String)> {
    let lines = listed.lines().skip(1);
    let vcpus = lines.filter_map(|line| {
        // A name may have spaces: counted from the slash.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let slash = fields.iter().position(|field| *field == "/")?;
        let hard = fields.get(slash.checked_sub(1)?)?;
        let (number, cpu) = (fields.get(slash.checked_sub(5)?)?, fields.get(slash - 4)?);
        (*cpu != "-").then_some((number.parse().ok()?, (*hard).to_owned()))
    });
    vcpus.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_cpus_are_read_as_xl_prints_them() {
        let listed = "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n\
            Domain-0                             0     0    0   r--     102.4  0 / all\n\
            Domain-0                             0     1    -   --p       0.4  1-3 / all\n\
            a guest                              7     2    1   -b-      75.0  all / 2\n";
        let all = [(0, "0".to_owned()), (2, "all".to_owned())];
        assert_eq!(parse_vcpus(listed), all);
    }

    #[test]
    fn devices_are_the_same_with_and_without_their_domain() {
        let listed = "0000:00:05.0\n0000:00:1f.2 \n";
        assert!(has_device(listed, "00:1F.2") && has_device(listed, "0000:00:05.0"));
        assert!(!has_device(listed, "00:06.0"));
    }
}
