//! How a lab boots: its folder, QEMU, and what its consoles say until every domain is there.
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::guests::{GUESTS, Guest};
use super::instance::{self, Config, Lab};
use super::machine::Machine;
use super::watch::{self, Console, Watch};
use super::{job, place};
use crate::signal;

/// Bytes of a disk that carries files to and from a guest.
const EXCHANGE_BYTES: u64 = 256 << 20;
/// Each boot takes 15 to 60 s on an idle machine; this is for one that is very busy.
const BOOT_LIMIT: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(50);
/// Runs its arguments, and says so where a signal ended them: nobody else learns it of a QEMU that outlives the command
/// which started it.
const TELL_SIGNAL: &str = r#""$@"
status=$?
case $status in
  132 | 134 | 135 | 136 | 139) echo "QEMU itself crashed (signal $((status - 128))); docs/lab.md knows one cause" ;;
  129 | 1[3-9]?) echo "QEMU was ended by signal $((status - 128))" ;;
esac >&2
exit "$status""#;
/// What follows a crash's first line, such as the stack, takes so long to come.
const REST: Duration = Duration::from_millis(500);

impl Lab {
    /// Boots Xen and the domains, or the kernel alone; its QEMU.
    pub(super) fn boot(&self, machine: &Machine<'_>, console: Console) -> Result<Qemu> {
        let start = Instant::now();
        let config = machine.config;
        eprintln!(
            "lab: booting {}Linux {} on {} emulated CPUs",
            if config.native {
                String::new()
            } else {
                format!("Xen {} and ", config.xen)
            },
            config.kernels,
            config.cpus
        );
        self.prepare(config)?;
        let mut qemu = self.spawn(machine.arguments())?;
        let _watch = Watch::start(&self.folder, console);
        self.wait_until(&["LAB-READY"], BOOT_LIMIT, &mut qemu)
            .with_context(|| format!("{} did not boot", config.first_domain()))?;
        if !config.native {
            eprintln!(
                "lab: Dom0 is there after {:.0} s",
                start.elapsed().as_secs_f64()
            );
            self.create_guests()?;
        }
        Ok(qemu)
    }

    /// Makes the lab's folder and its namespace.
    pub(super) fn prepare(&self, config: &Config) -> Result<()> {
        place::require_short(&self.folder.join("console.sock"))?;
        place::create(&self.folder.join("share/jobs"))?;
        place::create(&self.folder.join("share/guests"))?;
        for (name, text) in config.guests() {
            let file = format!("share/guests/{name}.cfg");
            place::write(&self.folder.join(file), text)?;
        }
        for guest in &GUESTS {
            let file = self.folder.join(format!("exchange-{}.img", guest.name));
            File::create(&file)
                .and_then(|image| image.set_len(EXCHANGE_BYTES))
                .with_context(|| format!("{} could not be created", file.display()))?;
        }
        job::make_pipes(&self.folder)?;
        self.namespace().create()
    }

    /// Starts QEMU.
    pub(super) fn spawn(&self, arguments: Vec<OsString>) -> Result<Qemu> {
        let log = self.folder.join("qemu.log");
        let log = File::create(&log)
            .with_context(|| format!("{} could not be created", log.display()))?;
        let errors = log.try_clone().context("the log's handle")?;
        self.namespace()
            .command("sh")
            .args(["-c", TELL_SIGNAL, "sh", "qemu-system-x86_64"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // A Ctrl-C is for this program, which ends QEMU in order or leaves it up.
            .process_group(0)
            .spawn()
            .map(|child| Qemu {
                child,
                stays: false,
            })
            .context("QEMU could not be started")
    }

    /// Waits for a line of the console that has one of these words; returns it.
    pub(super) fn wait_until(
        &self,
        words: &[&str],
        limit: Duration,
        qemu: &mut Qemu,
    ) -> Result<String> {
        let start = Instant::now();
        loop {
            let console = fs::read(self.folder.join("console.log")).unwrap_or_default();
            let console = String::from_utf8_lossy(&console);
            if let Some(crash) = watch::crash(&console) {
                thread::sleep(REST);
                bail!("{crash}: {}", watch::last_words(&self.folder));
            }
            let mut lines = console.split_inclusive('\n');
            let is_it =
                |line: &&str| line.ends_with('\n') && words.iter().any(|w| line.contains(w));
            if let Some(line) = lines.find(is_it) {
                return Ok(line.trim().to_owned());
            }
            signal::check()?;
            qemu.require()
                .map_err(|error| self.with_last_words(&error))?;
            if start.elapsed() > limit {
                bail!(
                    "not there after {limit:?}: {}",
                    watch::last_words(&self.folder)
                );
            }
            thread::sleep(POLL);
        }
    }

    /// An error, and what QEMU and the console said last.
    pub(super) fn with_last_words(&self, error: &anyhow::Error) -> anyhow::Error {
        anyhow!("{error:#}: {}", watch::last_words(&self.folder))
    }

    fn create_guests(&self) -> Result<()> {
        for guest in &GUESTS {
            let create = format!("/lab/create-guest {}", guest.name);
            self.domain("dom0").output(&create, BOOT_LIMIT)?;
        }
        GUESTS
            .iter()
            .try_for_each(|guest| self.wait_for_guest(guest))
    }

    fn guest_console(&self, guest: &Guest) -> String {
        let log = format!("share/guests/guest-{}.log", guest.name);
        let console = fs::read(self.folder.join(log)).unwrap_or_default();
        String::from_utf8_lossy(&console).into_owned()
    }

    fn wait_for_guest(&self, guest: &Guest) -> Result<()> {
        let start = Instant::now();
        while !self.has_guest(guest) {
            signal::check()?;
            let console = self.guest_console(guest);
            if let Some(crash) = watch::crash(&console) {
                bail!(
                    "guest {} did not boot: {crash}: {}",
                    guest.name,
                    watch::last_lines(&console)
                );
            }
            if instance::qemu(&self.folder).is_none() {
                bail!("QEMU has ended: {}", watch::last_words(&self.folder));
            }
            if start.elapsed() > BOOT_LIMIT {
                bail!(
                    "guest {} is not there after {BOOT_LIMIT:?}: {}",
                    guest.name,
                    watch::last_lines(&console)
                );
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

/// The QEMU of a lab that comes up: it ends when this is dropped, unless the lab is up by then.
#[derive(Debug)]
pub(super) struct Qemu {
    child: Child,
    stays: bool,
}

impl Qemu {
    /// # Errors
    /// When it has ended.
    pub(super) fn require(&mut self) -> Result<()> {
        match self.child.try_wait().context("QEMU cannot be waited for")? {
            Some(status) => bail!("QEMU ended with {status}"),
            None => Ok(()),
        }
    }

    /// The lab is up.
    pub(super) fn stay(mut self) {
        self.stays = true;
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Once it has ended and was waited for, its number can be another's.
        if !self.stays && matches!(self.child.try_wait(), Ok(None)) {
            signal::send_group(self.child.id(), libc::SIGKILL);
            let _ = self.child.wait();
        }
    }
}
