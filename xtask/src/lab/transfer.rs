//! Files to and from a domain. Dom0 and the native kernel have the shared folder; a guest has a small
//! disk of its own that carries a tar archive, since nothing else is faster without a network in it.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::guests::{self, EXCHANGE, Guest};
use super::instance::Lab;
use super::place;

const LIMIT: Duration = Duration::from_secs(600);

/// Where a run happens in its domain: memory, so that the disks under test stay untouched.
pub(super) const WORK: &str = "/tmp/lab-run";

/// Puts host files into [`WORK`] of a domain, under their own names.
pub(super) fn put(lab: &Lab, domain: &str, files: &[(&Path, &str)]) -> Result<()> {
    let outbox = lab.folder.join("share/outbox");
    renew(&outbox)?;
    for (file, name) in files {
        let target = outbox.join(name);
        fs::copy(file, &target)
            .with_context(|| format!("{} could not be copied into the lab", file.display()))?;
    }
    match guests::find(domain) {
        None => {
            let script = format!("rm -rf {WORK} && cp -r /share/outbox {WORK}");
            lab.domain(domain).output(&script, LIMIT)?;
        }
        Some(guest) => {
            let disk = guest.exchange;
            let pack = format!("tar -C /share/outbox -cf {disk} . && blockdev --flushbufs {disk}");
            lab.domain("dom0").output(&pack, LIMIT)?;
            let unpack = format!(
                "rm -rf {WORK} && mkdir {WORK} && blockdev --flushbufs {EXCHANGE} && tar -C {WORK} -xf {EXCHANGE}"
            );
            lab.domain(domain).output(&unpack, LIMIT)?;
        }
    }
    Ok(())
}

/// Brings the folder [`WORK`]`/NAME` of a domain to `target` on this machine.
pub(super) fn fetch(lab: &Lab, domain: &str, name: &str, target: &Path) -> Result<()> {
    let inbox = lab.folder.join("share/inbox");
    renew(&inbox)?;
    match guests::find(domain) {
        None => {
            let script = format!("cp -r {WORK}/{name} /share/inbox/");
            lab.domain(domain).output(&script, LIMIT)?;
        }
        Some(guest) => fetch_from_guest(lab, guest, name)?,
    }
    copy_tree(&inbox.join(name), target)
}

fn fetch_from_guest(lab: &Lab, guest: &Guest, name: &str) -> Result<()> {
    let pack = format!("tar -C {WORK} -cf {EXCHANGE} {name} && blockdev --flushbufs {EXCHANGE}");
    lab.domain(guest.name).output(&pack, LIMIT)?;
    let disk = guest.exchange;
    let unpack = format!("blockdev --flushbufs {disk} && tar -C /share/inbox -xf {disk}");
    lab.domain("dom0").output(&unpack, LIMIT).map(drop)
}

fn renew(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("{} could not be emptied", folder.display()))?;
    }
    place::create(folder)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    place::create(to)?;
    let failed = || format!("{} could not be read", from.display());
    for entry in from.read_dir().with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let target: PathBuf = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("{} could not be written", target.display()))?;
        }
    }
    Ok(())
}
