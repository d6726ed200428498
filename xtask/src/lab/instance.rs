//! A lab that is up: its folder, its QEMU and its namespace; how it comes and how it goes.
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::command_line::Added;
use super::guests::{self, GUESTS, Guest};
use super::job::{self, Domain};
use super::kernel::Kernels;
use super::machine::{Disks, Machine};
use super::network::Namespace;
use super::versions::Xen;
use super::watch::{self, Console, Watch};
use super::{disks, image, place};
use crate::signal;

/// Bytes of a disk that carries files to and from a guest.
const EXCHANGE_BYTES: u64 = 256 << 20;
/// Each boot takes 15 to 60 s on an idle machine; this is for one that is very busy.
const BOOT_LIMIT: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(50);
/// What follows a crash's first line, such as the stack, takes so long to come.
const REST: Duration = Duration::from_millis(500);

/// What a lab is made of: the same again is the same lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) xen: Xen,
    pub(super) kernels: Kernels,
    /// To the command lines.
    pub(super) added: Added,
    /// Emulated CPUs.
    pub(super) cpus: u32,
    pub(super) dom0_vcpus: u32,
    /// Without Xen.
    pub(super) native: bool,
    /// The emulated clock counts instructions, of two to the power of this nanoseconds each, instead of
    /// following the host's.
    pub(super) virtual_time: Option<u8>,
}

impl Config {
    /// The domain that answers first.
    pub(super) const fn first_domain(&self) -> &'static str {
        if self.native { "native" } else { "dom0" }
    }
}

/// The command by which Dom0 creates a guest.
fn create(guest: &Guest) -> String {
    format!("/lab/create-guest {}", guest.name)
}

/// One lab, up or not.
#[derive(Clone, Debug)]
pub(super) struct Lab {
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

impl Lab {
    pub(super) fn named(name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            folder: place::of_lab(name)?,
        })
    }

    pub(super) fn namespace(&self) -> Namespace {
        Namespace::of(&self.name, place::of_all(&self.folder))
    }

    pub(super) fn domain(&self, name: &str) -> Domain {
        Domain::of(&self.folder, name)
    }

    /// What it was made of, if it has come up whole and still runs.
    pub(super) fn running(&self) -> Option<Config> {
        qemu(&self.folder)?;
        let text = fs::read(self.folder.join("config.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Brings the lab up, or finds it up already.
    ///
    /// # Errors
    /// Also when a lab of this name, but of something else, is up.
    pub(super) fn up(&self, config: &Config, console: Console) -> Result<()> {
        let _lock = place::lock(&self.folder.with_extension("lock"))?;
        if let Some(running) = self.running() {
            if running == *config {
                return Ok(());
            }
            bail!(
                "the lab `{0}` is up with another configuration: end it with `cargo xtask lab down --name {0}`, \
                 or take another --name",
                self.name
            );
        }
        self.remove()?;
        let image = image::image(config.xen, &config.kernels)?;
        let disks = Disks {
            measured: disks::disk(1)?,
            load: disks::disk(2)?,
            passed_through: disks::disk(3)?,
        };
        let machine = Machine {
            image: &image,
            disks: &disks,
            folder: &self.folder,
            config,
        };
        self.boot(&machine, console).map_err(|error| {
            let kept = self.keep_log();
            // The failure itself is the news; `lab down` tries again.
            let _ = self.remove();
            match kept {
                Ok(log) => error.context(format!("the whole console is in {}", log.display())),
                Err(_) => error,
            }
        })
    }

    fn boot(&self, machine: &Machine<'_>, console: Console) -> Result<()> {
        let start = Instant::now();
        let config = machine.config;
        self.prepare()?;
        let mut child = self.spawn(machine)?;
        let _watch = Watch::start(&self.folder, console);
        let booted = self
            .wait_until("LAB-READY", &mut child)
            .with_context(|| format!("{} did not boot", config.first_domain()))
            .and_then(|()| self.create_guests(config, start));
        if booted.is_err() {
            // It has ended already, or is of no use.
            let _ = child.kill();
            let _ = child.wait();
        }
        booted?;
        let text = serde_json::to_vec(&config).context("the lab's configuration")?;
        place::write(&self.folder.join("config.json"), text)?;
        eprintln!("lab: up after {:.0} s", start.elapsed().as_secs_f64());
        Ok(())
    }

    fn prepare(&self) -> Result<()> {
        place::require_short(&self.folder.join("console.sock"))?;
        place::create(&self.folder.join("share/jobs"))?;
        place::create(&self.folder.join("share/guests"))?;
        for guest in &GUESTS {
            let file = self.folder.join(format!("exchange-{}.img", guest.name));
            File::create(&file)
                .and_then(|image| image.set_len(EXCHANGE_BYTES))
                .with_context(|| format!("{} could not be created", file.display()))?;
        }
        job::make_pipes(&self.folder)?;
        self.namespace().create()
    }

    fn spawn(&self, machine: &Machine<'_>) -> Result<Child> {
        let log = self.folder.join("qemu.log");
        let log = File::create(&log)
            .with_context(|| format!("{} could not be created", log.display()))?;
        let errors = log.try_clone().context("the log's handle")?;
        eprintln!(
            "lab: booting {}Linux {} on {} emulated CPUs",
            if machine.config.native {
                String::new()
            } else {
                format!("Xen {} and ", machine.config.xen)
            },
            machine.config.kernels,
            machine.config.cpus
        );
        self.namespace()
            .command("qemu-system-x86_64")
            .args(machine.arguments())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // A Ctrl-C is for this program, which ends QEMU in order or leaves it up.
            .process_group(0)
            .spawn()
            .context("QEMU could not be started")
    }

    /// Waits for a line of the console.
    fn wait_until(&self, line: &str, child: &mut Child) -> Result<()> {
        let start = Instant::now();
        loop {
            let console = fs::read(self.folder.join("console.log")).unwrap_or_default();
            let console = String::from_utf8_lossy(&console);
            if let Some(crash) = watch::crash(&console) {
                thread::sleep(REST);
                bail!("{crash}: {}", watch::last_words(&self.folder));
            }
            if console.contains(line) {
                return Ok(());
            }
            signal::check()?;
            if let Some(status) = child.try_wait().context("QEMU cannot be waited for")? {
                bail!(
                    "QEMU ended with {status}: {}",
                    watch::last_words(&self.folder)
                );
            }
            if start.elapsed() > BOOT_LIMIT {
                bail!(
                    "not there after {BOOT_LIMIT:?}: {}",
                    watch::last_words(&self.folder)
                );
            }
            thread::sleep(POLL);
        }
    }

    fn create_guests(&self, config: &Config, start: Instant) -> Result<()> {
        if config.native {
            return Ok(());
        }
        eprintln!(
            "lab: Dom0 is there after {:.0} s",
            start.elapsed().as_secs_f64()
        );
        let placed = guests::configs(config.dom0_vcpus, config.cpus, &config.added.guest);
        for (name, text) in placed {
            let file = format!("share/guests/{name}.cfg");
            place::write(&self.folder.join(file), text)?;
        }
        for guest in &GUESTS {
            self.domain("dom0").output(&create(guest), BOOT_LIMIT)?;
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

    /// Saves what the console of a failed boot said, beside the lab's folder; the next replaces it.
    fn keep_log(&self) -> std::io::Result<PathBuf> {
        let log = self.folder.with_extension("log");
        fs::copy(self.folder.join("console.log"), &log)?;
        Ok(log)
    }

    /// Whether the guest answers commands.
    pub(super) fn has_guest(&self, guest: &Guest) -> bool {
        let ready = format!("share/guests/{}.ready", guest.name);
        self.folder.join(ready).exists()
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
            if qemu(&self.folder).is_none() {
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

    /// Boots the lab, does something with it, and ends it.
    ///
    /// # Errors
    /// Also when a lab of this name is up: it is somebody else's, and stays.
    pub(super) fn for_one_boot<T>(
        &self,
        config: &Config,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        if self.running().is_some() {
            bail!(
                "the lab `{0}` is up already: end it with `cargo xtask lab down --name {0}`, or take another --name",
                self.name
            );
        }
        let done = self.up(config, Console::Quiet).and_then(|()| work(self));
        let ended = self.down();
        let done = done?;
        ended.map(|()| done)
    }

    /// Ends the lab; nothing of it is left.
    pub(super) fn down(&self) -> Result<()> {
        let _lock = place::lock(&self.folder.with_extension("lock"))?;
        self.remove()?;
        // The lock's file is empty; another process may just have taken it.
        let _ = fs::remove_file(self.folder.with_extension("lock"));
        Ok(())
    }

    /// Removes whatever there is, of a whole lab or half a one.
    fn remove(&self) -> Result<()> {
        let namespace = self.namespace();
        let mut left: Vec<u32> = namespace.processes();
        left.extend(qemu(&self.folder));
        for pid in &left {
            signal::send(*pid, libc::SIGKILL);
        }
        let start = Instant::now();
        while left.iter().any(|pid| is_alive(*pid)) {
            if start.elapsed() > Duration::from_secs(10) {
                bail!("the lab's processes {left:?} do not end");
            }
            thread::sleep(POLL);
        }
        for pid in &left {
            signal::reap(*pid);
        }
        namespace.remove()?;
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)
                .with_context(|| format!("{} could not be removed", self.folder.display()))?;
        }
        Ok(())
    }
}

/// Whether the process is there and not a zombie, which a parent may keep for a while.
fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        !matches!(state, Some('Z' | 'X'))
    })
}

/// The lab's QEMU, if it runs. A number that another process got meanwhile is told by its arguments.
pub(super) fn qemu(folder: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(folder.join("qemu.pid"))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments = String::from_utf8_lossy(&arguments);
    (arguments.contains(folder.to_str()?) && is_alive(pid)).then_some(pid)
}
