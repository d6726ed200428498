//! How a lab comes up: at a saved state, or with a boot.
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::boot::Qemu;
use super::instance::{Config, Lab};
use super::machine::{Disks, Machine};
use super::saved::Saved;
use super::watch::Console;
use super::{disks, image, place};
use crate::{lock, signal};

/// Where a lab that is not up begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Begin {
    /// At the saved state of one that was made in the same way, if there is any.
    #[default]
    Saved,
    /// With a boot. Memory and interrupts lie anew after it: what takes boots as its units needs one each time.
    Cold,
}

/// How a lab comes up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start {
    pub(super) console: Console,
    pub(super) begin: Begin,
}

impl Start {
    fn cold() -> Self {
        Self {
            begin: Begin::Cold,
            ..Self::default()
        }
    }
}

impl Lab {
    /// Brings the lab up, or finds it up already.
    ///
    /// # Errors
    /// Also when a lab of this name, but of something else, is up.
    pub(super) fn up(&self, config: &Config, start: Start) -> Result<()> {
        let _lock = lock::take(&self.folder.with_extension("lock"))?;
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
        let began = Instant::now();
        let how = self.come_up(&machine, start).map_err(|error| {
            let kept = self.keep_log();
            // The failure itself is the news; `lab down` tries again.
            let _ = self.remove();
            match kept {
                Ok(log) => error.context(format!("the whole console is in {}", log.display())),
                Err(_) => error,
            }
        })?;
        eprintln!("lab: {how} after {:.1} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    fn come_up(&self, machine: &Machine<'_>, start: Start) -> Result<&'static str> {
        let (qemu, how) = match start.begin {
            Begin::Saved => self.restore_or_boot(machine, start.console)?,
            Begin::Cold => (self.boot(machine, start.console)?, "up"),
        };
        let text = serde_json::to_vec(machine.config).context("the lab's configuration")?;
        place::write(&self.folder.join("config.json"), text)?;
        qemu.stay();
        Ok(how)
    }

    /// By the saved state of such a lab; a boot saves one.
    fn restore_or_boot(
        &self,
        machine: &Machine<'_>,
        console: Console,
    ) -> Result<(Qemu, &'static str)> {
        let saved = Saved::of(machine)?;
        let _claim = saved.claim()?;
        if saved.is_there() {
            match saved.restore(self) {
                Ok(qemu) => return Ok((qemu, "restored")),
                Err(error) => {
                    signal::check()?;
                    eprintln!("lab: the saved state is made anew: {error:#}");
                    saved.remove()?;
                    self.remove()?;
                }
            }
        }
        let mut qemu = self.boot(machine, console)?;
        if let Err(error) = saved.save(self, &mut qemu)? {
            signal::check()?;
            eprintln!("lab: its state is not saved, and the next `up` boots again: {error:#}");
        }
        Ok((qemu, "up"))
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
        let done = self.up(config, Start::cold()).and_then(|()| work(self));
        let ended = self.down();
        let done = done?;
        ended.map(|()| done)
    }
}
