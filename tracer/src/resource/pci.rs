//! PCI devices that Dom0's drivers give up for a run, and get back.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::{
    platform::guest::output,
    resource::{
        guest::Change,
        ledger::{Entry, Ledger},
    },
};

const DEVICES: &str = "/sys/bus/pci/devices";
const DRIVERS: &str = "/sys/bus/pci/drivers";
/// The driver of devices that guests can have.
const PCIBACK: &str = "pciback";
/// A guest that has just ended may hold its devices for a moment.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_millis(500);

/// A device and the driver that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    /// Its address, such as `0000:00:1f.2`.
    address: String,
    /// Its driver in Dom0, if it had one.
    driver: Option<String>,
}

impl Taken {
    /// Gives the device back to its driver, unless somebody has done so.
    pub(super) fn undo(&self) -> anyhow::Result<()> {
        let Self { address, driver } = self;
        let mut last = Ok(());
        for _ in 0..TRIES {
            if driver_of(address).as_deref() != Some(PCIBACK) {
                break;
            }
            last = output("xl", &["pci-assignable-remove", "-r", address]).map(drop);
            if last.is_err() {
                thread::sleep(AGAIN);
            }
        }
        let now = driver_of(address);
        if now.as_deref() == Some(PCIBACK) {
            return last.with_context(|| format!("{address} is still a guest's"));
        }
        match driver {
            // The toolstack has forgotten it, or could not.
            Some(driver) if now.is_none() => {
                fs::write(Path::new(DRIVERS).join(driver).join("bind"), address)
                    .with_context(|| format!("cannot give {address} back to {driver}"))
            }
            _ => Ok(()),
        }
    }
}

/// Takes a device away from its driver. One that guests can have already is left as it is.
///
/// # Errors
/// If there is no such device, or its driver keeps it.
pub(super) fn take(address: &str, ledger: &mut Ledger) -> anyhow::Result<()> {
    let address = whole(address);
    if !device(&address).exists() {
        bail!("there is no PCI device {address}; `lspci -D` shows those there are");
    }
    let driver = driver_of(&address);
    if driver.as_deref() == Some(PCIBACK) {
        tracing::info!("{address} was taken from Dom0 before this run, and stays so");
        return Ok(());
    }
    let taken = Taken {
        address: address.clone(),
        driver,
    };
    ledger.note(&Entry::Guest(Change::Taken(taken)))?;
    output("xl", &["pci-assignable-add", &address])?;
    if driver_of(&address).as_deref() != Some(PCIBACK) {
        bail!("{address} did not become assignable: is xen-pciback loaded?");
    }
    Ok(())
}

fn device(address: &str) -> PathBuf {
    Path::new(DEVICES).join(address)
}

fn driver_of(address: &str) -> Option<String> {
    let driver = fs::read_link(device(address).join("driver")).ok()?;
    Some(driver.file_name()?.to_string_lossy().into_owned())
}

/// An address as sysfs has it: with its domain, in small letters.
fn whole(address: &str) -> String {
    let address = address.to_ascii_lowercase();
    if address.matches(':').count() == 1 {
        format!("0000:{address}")
    } else {
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_the_same_with_and_without_their_domain() {
        for address in ["00:1F.2", "0000:00:1f.2"] {
            assert_eq!(whole(address), "0000:00:1f.2");
        }
        assert_eq!(whole("0001:00:1f.2"), "0001:00:1f.2");
    }
}
