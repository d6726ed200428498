//! What a run does to guests through the toolstack, `xl`, and how that is put back: guests that it
//! creates, the CPUs of virtual CPUs, devices that it takes away from Dom0. Domains are told apart by
//! their numbers: one of the same name that somebody makes later is not touched.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::{
    platform::guest::{Guest, output},
    resource::{
        ledger::{Entry, Ledger},
        pci::{self, Taken},
    },
};
use tracer_analysis::scenario::types::Domain;

/// How long a guest may take to shut down before it is destroyed.
const SHUTDOWN: Duration = Duration::from_secs(60);
/// How long a guest's kernel may take to have as many virtual CPUs on as it is told.
const ON: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(500);
/// As `xl` calls Dom0.
pub(super) const DOM0: &str = "Domain-0";

/// Something to put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Change {
    /// A guest of this name is about to be created.
    Creating(String),
    /// A guest was created.
    Created {
        /// Its name.
        guest: String,
        /// Its number.
        domid: u16,
    },
    /// A device was taken away from its driver in Dom0.
    Taken(Taken),
    /// A virtual CPU was bound to other CPUs.
    Pinned {
        /// The guest.
        guest: String,
        /// Its number.
        domid: u16,
        /// The virtual CPU.
        vcpu: u32,
        /// Where it might run before, as `xl` writes it.
        cpus: String,
    },
    /// The number of virtual CPUs was changed.
    Vcpus {
        /// The guest.
        guest: String,
        /// Its number.
        domid: u16,
        /// How many were on.
        count: usize,
    },
}

impl Change {
    /// Whether a later change has what this one lacked: the number of a guest that was being created.
    pub(super) fn is_settled_by(&self, later: &Self) -> bool {
        match (self, later) {
            (Self::Creating(name), Self::Created { guest, .. }) => name == guest,
            _ => false,
        }
    }

    /// Puts it back.
    pub(super) fn undo(&self) -> anyhow::Result<()> {
        let there = |guest: &str, domid: &u16| {
            let guest = Guest {
                name: guest.into(),
                domid: *domid,
            };
            guest.runs()
        };
        match self {
            Self::Creating(name) => {
                let all = Guest::all()?;
                let found = all.into_iter().find(|guest| guest.name == *name);
                found.map_or(Ok(()), |guest| end(&guest))
            }
            Self::Created { guest, domid } => end(&Guest {
                name: guest.clone(),
                domid: *domid,
            }),
            Self::Taken(taken) => taken.undo(),
            Self::Pinned { guest, domid, .. } | Self::Vcpus { guest, domid, .. }
                if !there(guest, domid)? =>
            {
                Ok(())
            }
            Self::Pinned {
                domid, vcpu, cpus, ..
            } => xl(&["vcpu-pin", &domid.to_string(), &vcpu.to_string(), cpus]),
            Self::Vcpus {
                guest,
                domid,
                count,
            } => set_vcpus(
                &Guest {
                    name: guest.clone(),
                    domid: *domid,
                },
                *count,
            ),
        }
    }
}

/// Does what a scenario wants of a domain before the run, each step written down before it is done.
///
/// # Errors
/// If the toolstack refuses it; what was done is put back when the ledger is dropped.
pub(super) fn prepare(domain: &Domain, ledger: &mut Ledger) -> anyhow::Result<()> {
    let wants = domain.create.is_some() || domain.vcpus.is_some();
    if !wants && domain.pci.is_empty() && domain.vcpu_pin.is_empty() {
        return Ok(());
    }
    let name = name(domain);
    if let Some(file) = &domain.create {
        check_new(name, file)?;
    }
    for device in &domain.pci {
        pci::take(device, ledger)?;
    }
    let guest = match &domain.create {
        Some(file) => create(name, file, domain.vcpus, ledger)?,
        None if wants || !domain.vcpu_pin.is_empty() => Guest::find(name)?,
        None => return Ok(()),
    };
    if let (None, Some(count)) = (&domain.create, domain.vcpus) {
        change_vcpus(&guest, count as usize, ledger)?;
    }
    pin(&guest, &domain.vcpu_pin, ledger)
}

/// As `xl` calls a domain.
fn name(domain: &Domain) -> &str {
    if domain.agent == "local" {
        DOM0
    } else {
        domain.guest.as_ref().unwrap_or(&domain.name)
    }
}

/// What can be said before anything is done.
fn check_new(name: &str, file: &str) -> anyhow::Result<()> {
    if !Path::new(file).is_file() {
        bail!("there is no file {file}, which `create` names");
    }
    if Guest::all()?.iter().any(|guest| guest.name == name) {
        bail!("guest {name} runs already: end it, or leave `create` out");
    }
    Ok(())
}

fn create(
    name: &str,
    file: &str,
    vcpus: Option<u32>,
    ledger: &mut Ledger,
) -> anyhow::Result<Guest> {
    ledger.note(&Entry::Guest(Change::Creating(name.into())))?;
    tracing::info!("creating guest {name}");
    let name_line = format!("name=\"{name}\"");
    let vcpus_line = vcpus.map(|count| format!("vcpus={count}"));
    let mut args = vec!["create", "-q", file, &name_line];
    args.extend(vcpus_line.as_deref());
    xl(&args)?;
    let guest = Guest::find(name)?;
    ledger.note(&Entry::Guest(Change::Created {
        guest: name.into(),
        domid: guest.domid,
    }))?;
    Ok(guest)
}

fn change_vcpus(guest: &Guest, count: usize, ledger: &mut Ledger) -> anyhow::Result<()> {
    let before = vcpus_on(guest)?;
    if before == count {
        return Ok(());
    }
    ledger.note(&Entry::Guest(Change::Vcpus {
        guest: guest.name.clone(),
        domid: guest.domid,
        count: before,
    }))?;
    set_vcpus(guest, count)
}

/// Has a guest's kernel take virtual CPUs on or off, and waits until it has.
fn set_vcpus(guest: &Guest, count: usize) -> anyhow::Result<()> {
    xl(&["vcpu-set", &guest.domid.to_string(), &count.to_string()])?;
    let start = Instant::now();
    loop {
        if guest.domid == 0 {
            turn_on(Path::new("/sys/devices/system/cpu"), count);
        }
        let on = vcpus_on(guest)?;
        if on == count {
            return Ok(());
        }
        if start.elapsed() > ON {
            bail!(
                "{} has {on} virtual CPUs on, not {count}, {ON:?} after `xl vcpu-set`; its kernel takes them on and off: are there so many, and has it a udev rule for CPUs?",
                guest.name
            );
        }
        thread::sleep(POLL);
    }
}

/// Turns the first CPUs of this kernel, Dom0's, on: it turns them off by itself, and leaves this to a udev rule that
/// not every system has. One that the kernel does not have yet is there at the next try.
fn turn_on(cpus: &Path, count: usize) {
    for number in 0..count {
        let online = cpus.join(format!("cpu{number}/online"));
        if fs::read_to_string(&online).is_ok_and(|is_on| is_on.trim() == "0") {
            let _ = fs::write(&online, "1");
        }
    }
}

fn vcpus_on(guest: &Guest) -> anyhow::Result<usize> {
    Ok(vcpus(guest)?.iter().filter(|vcpu| vcpu.is_on).count())
}

fn pin(guest: &Guest, wanted: &[String], ledger: &mut Ledger) -> anyhow::Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let before = vcpus(guest)?;
    for (number, cpus) in (0u32..).zip(wanted) {
        let old = before.iter().find(|vcpu| vcpu.number == number);
        let old = old.with_context(|| {
            let count = before.len();
            format!(
                "`vcpu_pin` has {} entries, and {} has {count} virtual CPUs",
                wanted.len(),
                guest.name
            )
        })?;
        ledger.note(&Entry::Guest(Change::Pinned {
            guest: guest.name.clone(),
            domid: guest.domid,
            vcpu: number,
            cpus: old.cpus.clone(),
        }))?;
        xl(&[
            "vcpu-pin",
            &guest.domid.to_string(),
            &number.to_string(),
            cpus,
        ])?;
    }
    Ok(())
}

/// Shuts a guest down; one that does not go is destroyed.
fn end(guest: &Guest) -> anyhow::Result<()> {
    if !guest.runs()? {
        return Ok(());
    }
    let domid = guest.domid.to_string();
    tracing::info!("shutting guest {} down", guest.name);
    if xl(&["shutdown", &domid]).is_ok() {
        let start = Instant::now();
        while start.elapsed() < SHUTDOWN {
            thread::sleep(POLL);
            if !guest.runs()? {
                return Ok(());
            }
        }
    }
    tracing::warn!("guest {} does not shut down: destroying it", guest.name);
    xl(&["destroy", &domid])
}

fn xl(args: &[&str]) -> anyhow::Result<()> {
    output("xl", args).map(drop)
}

/// A virtual CPU.
#[derive(Debug, PartialEq, Eq)]
struct Vcpu {
    number: u32,
    is_on: bool,
    /// Where it may run, as `xl` writes it.
    cpus: String,
}

/// The virtual CPUs of a guest.
fn vcpus(guest: &Guest) -> anyhow::Result<Vec<Vcpu>> {
    let domid = guest.domid.to_string();
    Ok(parse_vcpus(&output("xl", &["vcpu-list", &domid])?))
}

/// Lines such as `B   2   0   2   -b-   52.2  2 / all`: name, id, number, CPU, state, time, affinity.
fn parse_vcpus(listed: &str) -> Vec<Vcpu> {
    let lines = listed.lines().skip(1);
    let vcpus = lines.filter_map(|line| {
        // A name may have spaces: counted from the slash.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let slash = fields.iter().rposition(|field| *field == "/")?;
        let cpus = fields.get(slash.checked_sub(1)?)?;
        let (number, cpu) = (fields.get(slash.checked_sub(5)?)?, fields.get(slash - 4)?);
        Some(Vcpu {
            number: number.parse().ok()?,
            is_on: *cpu != "-",
            cpus: (*cpus).to_owned(),
        })
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
            a / guest                            7     2    1   -b-      75.0  all / 2\n";
        let vcpu = |number, is_on, cpus: &str| Vcpu {
            number,
            is_on,
            cpus: cpus.into(),
        };
        let all = [
            vcpu(0, true, "0"),
            vcpu(1, false, "1-3"),
            vcpu(2, true, "all"),
        ];
        assert_eq!(parse_vcpus(listed), all);
    }

    #[test]
    fn the_first_cpus_are_turned_on_as_far_as_the_kernel_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let online = |number: u32| folder.path().join(format!("cpu{number}/online"));
        // The first has no switch, the second is not there yet.
        for (number, is_on) in [(2, "0\n"), (3, "1\n"), (4, "0\n")] {
            fs::create_dir(online(number).parent().unwrap()).unwrap();
            fs::write(online(number), is_on).unwrap();
        }
        turn_on(folder.path(), 4);
        let state = |number| fs::read_to_string(online(number)).unwrap();
        assert_eq!([state(2), state(3), state(4)], ["1", "1\n", "0\n"]);
        assert!(!online(1).exists());
    }
}
