//! Saved states of labs: memory and devices of one that has just booted, from which others of its kind go on.
//!
//! A state belongs to what it was made of, and to a machine of which nothing has been written to a disk: those are not
//! in it. QEMU saves no machine while the folder that it shares is mounted, so that Dom0 leaves it for that.
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::boot::Qemu;
use super::guests::GUESTS;
use super::instance::Lab;
use super::machine::Machine;
use super::made_of::{Side, differing};
use super::qmp::Qmp;
use super::{job, packages, place, run};
use crate::{lock, shell};

/// How many are kept, the last used ones.
const KEPT: usize = 6;
/// Space that saving one takes at most, in bytes: little of a domain's memory is in use after a boot.
const SPACE: u64 = 2 << 30;
/// What takes a second or two on an idle machine.
const LIMIT: Duration = Duration::from_secs(300);
/// The state, and what it was made of, in its folder.
const STATE: &str = "state";
const MADE_OF: &str = "made-of.json";

/// What a state was made of: one that was made of something else is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MadeOf {
    /// The kernels' builds.
    kernel: String,
    /// The name of the image, which has a digest of all that is in it.
    image: String,
    /// What QEMU says of its version.
    qemu: String,
    /// When the image was made, in nanoseconds since 1970: a file system made anew is another one, with the same files.
    image_made: u128,
    /// The guests' configurations.
    guests: Vec<(String, String)>,
    /// QEMU's arguments, but for the lab's folder and the image's.
    arguments: Vec<String>,
}

impl MadeOf {
    fn of(machine: &Machine<'_>) -> Result<Self> {
        let version = shell::output(shell::command("qemu-system-x86_64").arg("--version"))?;
        let folder = machine.folder.display().to_string();
        let image_folder = machine.image.folder.display().to_string();
        let arguments = machine.arguments().into_iter().map(|word| {
            let word = word.to_string_lossy();
            word.replace(&folder, "LAB").replace(&image_folder, "IMAGE")
        });
        let image = machine.image.folder.file_name().unwrap_or_default();
        let root = machine.image.root();
        let made = fs::metadata(&root).and_then(|root| root.modified());
        let made =
            made.with_context(|| format!("{} cannot be asked for its time", root.display()))?;
        let guests = machine.config.guests().into_iter();
        Ok(Self {
            kernel: Side::new(machine.config)?.build,
            image: image.to_string_lossy().into(),
            image_made: made
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_nanos(),
            guests: guests.map(|(name, text)| (name.to_owned(), text)).collect(),
            qemu: version.lines().next().unwrap_or_default().into(),
            arguments: arguments.collect(),
        })
    }

    /// What differs in `other`, in words.
    fn differing(&self, other: &Self) -> Vec<&'static str> {
        differing([
            ("kernel", self.kernel != other.kernel),
            ("QEMU", self.qemu != other.qemu),
            (
                "image",
                (&self.image, self.image_made) != (&other.image, other.image_made),
            ),
            ("guest", self.guests != other.guests),
            ("machine", self.arguments != other.arguments),
        ])
    }
}

/// A state that is there: what it was made of, and what tells a damaged file.
#[derive(Debug, Serialize, Deserialize)]
struct There {
    made_of: MadeOf,
    bytes: u64,
    crc32: u32,
}

/// The state of labs that are made like a machine, saved or not.
#[derive(Debug)]
pub(super) struct Saved<'m> {
    machine: &'m Machine<'m>,
    made_of: MadeOf,
    folder: PathBuf,
}

impl<'m> Saved<'m> {
    pub(super) fn of(machine: &'m Machine<'m>) -> Result<Self> {
        let config = serde_json::to_string(machine.config).context("the lab's configuration")?;
        Ok(Self {
            machine,
            made_of: MadeOf::of(machine)?,
            folder: folder()?.join(packages::key(&[&config])),
        })
    }

    /// From here to the drop, no other lab of this kind boots in order to save the state: it is there then.
    pub(super) fn claim(&self) -> Result<File> {
        lock::take(&self.folder.with_extension("lock"))
    }

    /// Whether there is a state, of whatever.
    pub(super) fn is_there(&self) -> bool {
        self.folder.join(MADE_OF).exists()
    }

    /// Removes the state.
    pub(super) fn remove(&self) -> Result<()> {
        let _lock = lock()?;
        match fs::remove_dir_all(&self.folder) {
            // As one too many, by another lab's saving.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => {
                removed.with_context(|| format!("{} could not be removed", self.folder.display()))
            }
        }
    }

    /// Brings the lab up at the state.
    ///
    /// # Errors
    /// When it is of something else, or damaged, or the lab does not go on from it. Then half a lab may be left.
    pub(super) fn restore(&self, lab: &Lab) -> Result<Qemu> {
        let _lock = lock()?;
        let state = checked(&self.folder, &self.made_of)?;
        lab.prepare(self.machine.config)?;
        let mut arguments = self.machine.arguments();
        let source = format!("exec:cat {}", run::quoted(&state.display().to_string()));
        arguments.extend(["-incoming".into(), source.into()]);
        let mut qemu = lab.spawn(arguments)?;
        load(lab, &mut qemu).map_err(|error| lab.with_last_words(&error))?;
        lab.enter(&mut qemu)?;
        if !self.machine.config.native {
            lab.set_clocks()?;
        }
        // Which was used last, the next cleaning up asks.
        let used = File::options().append(true).open(&state);
        let _ = used.and_then(|file| file.set_modified(SystemTime::now()));
        Ok(qemu)
    }

    /// Saves the state of a lab that has just booted, which goes on then.
    ///
    /// # Errors
    /// The outer one when the lab does not go on, the inner one when its state cannot be saved.
    pub(super) fn save(&self, lab: &Lab, qemu: &mut Qemu) -> Result<Result<()>> {
        let _lock = lock()?;
        if checked(&self.folder, &self.made_of).is_ok() {
            // By another lab, meanwhile.
            return Ok(Ok(()));
        }
        if let Err(error) = folder().and_then(|folder| place::require_space(&folder, SPACE)) {
            return Ok(Err(error));
        }
        let mut qmp = match Qmp::connect(&lab.folder, qemu) {
            Ok(qmp) => qmp,
            Err(error) => {
                qemu.require().map_err(|gone| lab.with_last_words(&gone))?;
                // Nothing was asked of the lab yet.
                return Ok(Err(error));
            }
        };
        job::announce(&lab.folder, "leave")?;
        let left = lab.wait_until(&["LAB-LEFT", "LAB-HELD"], LIMIT, qemu);
        let saved = match left {
            Ok(line) if line.contains("LAB-LEFT") => {
                packages::build_whole(&self.folder, |partial| self.write(&mut qmp, partial))
            }
            Ok(line) => Err(anyhow!("{line}")),
            Err(error) => Err(error),
        };
        let goes_on = qmp
            .execute("cont", &json!({}))
            .and_then(|_| lab.enter(qemu));
        if let Err(error) = goes_on {
            let error = error.context("the lab does not go on after its state was to be saved");
            return Err(match saved {
                Ok(()) => error,
                Err(saved) => error.context(saved),
            });
        }
        Ok(saved.and_then(|()| remove_surplus(&folder()?)))
    }

    fn write(&self, qmp: &mut Qmp, partial: &Path) -> Result<()> {
        place::create(partial)?;
        let state = partial.join(STATE);
        qmp.execute("stop", &json!({}))?;
        require_unwritten(qmp)?;
        if let Err(error) = migrate(qmp, &state) {
            // Else QEMU would stop the machine again when it is done.
            qmp.execute("migrate_cancel", &json!({}))?;
            qmp.wait_for("query-migrate", LIMIT, |told| {
                let status = told["status"].as_str();
                Ok(!matches!(status, Some("setup" | "active" | "cancelling")))
            })?;
            return Err(error);
        }
        let (bytes, crc32) = measure(&state)?;
        let there = There {
            made_of: self.made_of.clone(),
            bytes,
            crc32,
        };
        let text = serde_json::to_vec_pretty(&there).context("what it is made of")?;
        place::write(&partial.join(MADE_OF), text)
    }
}

/// Waits until QEMU has read the machine, and lets it run.
fn load(lab: &Lab, qemu: &mut Qemu) -> Result<()> {
    let mut qmp = Qmp::connect(&lab.folder, qemu)?;
    qmp.wait_for("query-status", LIMIT, |status| {
        Ok(status["status"] != "inmigrate")
    })?;
    qmp.execute("cont", &json!({})).map(drop)
}

/// Has QEMU write the stopped machine to a file.
fn migrate(qmp: &mut Qmp, state: &Path) -> Result<()> {
    qmp.execute(
        "migrate-set-parameters",
        &json!({"max-bandwidth": 1_u64 << 40}),
    )?;
    let quoted = |path: &Path| run::quoted(&path.display().to_string());
    let (whole, part) = (quoted(state), quoted(&state.with_extension("part")));
    // QEMU does not look how the command ends: the file has its name once it is whole.
    let target = format!("exec:cat > {part} && mv {part} {whole}");
    qmp.execute("migrate", &json!({"uri": target}))?;
    qmp.wait_for("query-migrate", LIMIT, |told| {
        match told["status"].as_str() {
            Some("completed") => Ok(state.exists()),
            Some("failed" | "cancelled") => bail!("QEMU did not save it: {}", told["error-desc"]),
            _ => Ok(false),
        }
    })
}

impl Lab {
    /// Lets the first domain have the folder that it shares again, at this machine's time.
    fn enter(&self, qemu: &mut Qemu) -> Result<()> {
        job::announce(&self.folder, &format!("enter {}", now()))?;
        self.wait_until(&["LAB-BACK"], LIMIT, qemu).map(drop)
    }

    /// The guests' clocks went on where they stood. At the same time: their first programs are translated anew.
    fn set_clocks(&self) -> Result<()> {
        thread::scope(|scope| {
            let guests = GUESTS.map(|guest| {
                scope.spawn(move || {
                    let set = format!("date -s @{} >/dev/null", now());
                    self.domain(guest.name).output(&set, LIMIT)
                })
            });
            guests.into_iter().try_for_each(|guest| {
                let set = guest.join();
                set.map_err(|_| anyhow!("a guest's clock was not set"))?
                    .map(drop)
            })
        })
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// The folder of all saved states.
fn folder() -> Result<PathBuf> {
    let folder = place::cache()?.join("states");
    place::create(&folder)?;
    Ok(folder)
}

/// One lab at a time saves its state, or goes on from one.
fn lock() -> Result<File> {
    lock::take(&place::cache()?.join("states.lock"))
}

/// The state in a folder, if it is of `made_of`, and as it was written.
fn checked(folder: &Path, made_of: &MadeOf) -> Result<PathBuf> {
    let what = || format!("{} is damaged", folder.join(MADE_OF).display());
    let text = fs::read(folder.join(MADE_OF)).with_context(what)?;
    let there: There = serde_json::from_slice(&text).with_context(what)?;
    let differing = made_of.differing(&there.made_of);
    if !differing.is_empty() {
        bail!("it is of another {}", differing.join(" and another "));
    }
    let state = folder.join(STATE);
    if measure(&state)? != (there.bytes, there.crc32) {
        bail!("{} is damaged", state.display());
    }
    Ok(state)
}

/// A file's size, and its CRC-32.
fn measure(file: &Path) -> Result<(u64, u32)> {
    let failed = || format!("{} cannot be read", file.display());
    let mut input = BufReader::new(File::open(file).with_context(failed)?);
    let (mut bytes, mut sum) = (0, crc32fast::Hasher::new());
    let mut block = vec![0; 1 << 20];
    loop {
        let read = input.read(&mut block).with_context(failed)?;
        if read == 0 {
            return Ok((bytes, sum.finalize()));
        }
        bytes += read as u64;
        sum.update(&block[..read]);
    }
}

/// What was written to disks is not in a state, whose domains would miss it.
fn require_unwritten(qmp: &mut Qmp) -> Result<()> {
    let drives = qmp.execute("query-blockstats", &json!({}))?;
    for drive in drives.as_array().map_or(&[][..], Vec::as_slice) {
        if drive["stats"]["wr_operations"] != 0 {
            bail!("the boot wrote to the disk {}", drive["device"]);
        }
    }
    Ok(())
}

/// Removes the states that were used longest ago.
fn remove_surplus(folder: &Path) -> Result<()> {
    let entries = folder
        .read_dir()
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut states: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_none())
        .map(|entry| {
            let used = fs::metadata(entry.path().join(STATE)).and_then(|state| state.modified());
            (used.unwrap_or(UNIX_EPOCH), entry.path())
        })
        .collect();
    states.sort();
    for (_, path) in &states[..states.len().saturating_sub(KEPT)] {
        fs::remove_dir_all(path)
            .with_context(|| format!("{} could not be removed", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of() -> MadeOf {
        MadeOf {
            kernel: "6.1.0-50-amd64".into(),
            image: "image-4.17-6.1-1".into(),
            image_made: 1,
            guests: vec![("A".into(), "memory = 640".into())],
            qemu: "QEMU emulator version 7.2.22".into(),
            arguments: vec!["-m".into(), "4096".into()],
        }
    }

    #[test]
    fn a_state_of_something_else_or_a_damaged_one_is_not_used() {
        let folder = std::env::temp_dir().join(format!("tracer-saved-{}", std::process::id()));
        place::create(&folder).unwrap();
        let state = folder.join(STATE);
        let whole = vec![7; 3 << 20];
        place::write(&state, &whole).unwrap();
        let (bytes, crc32) = measure(&state).unwrap();
        let there = There {
            made_of: made_of(),
            bytes,
            crc32,
        };
        place::write(&folder.join(MADE_OF), serde_json::to_vec(&there).unwrap()).unwrap();
        let refused = |made_of: MadeOf| checked(&folder, &made_of).unwrap_err().to_string();
        assert_eq!(checked(&folder, &made_of()).unwrap(), state);
        let kernel = "6.1.0-51-amd64".into();
        let image = "image-4.17-6.1-2".into();
        let newer = MadeOf {
            kernel,
            image,
            ..made_of()
        };
        assert_eq!(refused(newer), "it is of another kernel and another image");
        let qemu = "QEMU emulator version 10.0.13".into();
        assert_eq!(
            refused(MadeOf { qemu, ..made_of() }),
            "it is of another QEMU"
        );
        let image_made = 2;
        let rebuilt = MadeOf {
            image_made,
            ..made_of()
        };
        assert_eq!(refused(rebuilt), "it is of another image");
        let guests = vec![("A".into(), "memory = 512".into())];
        let smaller = MadeOf {
            guests,
            ..made_of()
        };
        assert_eq!(refused(smaller), "it is of another guest");
        let mut flipped = whole.clone();
        flipped[1 << 20] ^= 1;
        for damaged in [&whole[..whole.len() - 1], &flipped] {
            place::write(&state, damaged).unwrap();
            assert!(refused(made_of()).ends_with("/state is damaged"));
        }
        place::write(&folder.join(MADE_OF), b"{").unwrap();
        assert!(refused(made_of()).ends_with("/made-of.json is damaged"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
