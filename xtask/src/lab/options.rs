//! What the lab's commands are told.
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::command_line::{Added, Words};
use super::instance::Config;
use super::kernel::{Kernel, Kernels};
use super::up::{Begin, Start};
use super::versions::Xen;
use super::watch::Console;
use super::{check, paper};

/// The emulated machine.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Emulated {
    /// The lab's name: labs of several names can be up side by side
    #[arg(long, default_value = "lab")]
    pub(super) name: String,
    /// Emulated CPUs
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    smp: u32,
    /// Dom0's virtual CPUs, pinned to the first emulated ones; the paper has 2 for disks, 1 for networks
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    dom0_vcpus: u32,
    /// Words for the command line of Dom0's kernel, and of the native run's, such as `nokaslr loglevel=7`
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    kernel_args: Option<Words>,
    /// Words for the command line of the guests' kernel
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    guest_kernel_args: Option<Words>,
    /// Words for the hypervisor's command line
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    xen_args: Option<Words>,
}

impl Emulated {
    /// What a lab with these versions is made of, in real time. One without Xen has no guests.
    pub(super) fn config(&self, xen: Xen, kernels: Kernels, native: bool) -> Result<Config> {
        if self.dom0_vcpus > self.smp {
            bail!(
                "--dom0-vcpus {} is more than --smp {}",
                self.dom0_vcpus,
                self.smp
            );
        }
        let words = |words: &Option<Words>| words.clone().unwrap_or_default();
        let (kernels, added) = if native {
            let added = Added {
                dom0: words(&self.kernel_args),
                ..Added::default()
            };
            (Kernels::all(&kernels.dom0), added)
        } else {
            let added = Added {
                dom0: words(&self.kernel_args),
                guest: words(&self.guest_kernel_args),
                xen: words(&self.xen_args),
            };
            (kernels, added)
        };
        Ok(Config {
            xen,
            kernels,
            added,
            cpus: self.smp,
            dom0_vcpus: self.dom0_vcpus,
            native,
            virtual_time: None,
        })
    }
}

/// How fast the emulated clock goes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Clock {
    /// The emulated clock counts instructions, of 2^SHIFT ns each: what else the host does has no part in it
    #[arg(long, value_name = "SHIFT", value_parser = clap::value_parser!(u8).range(0..=3))]
    virtual_time: Option<u8>,
}

impl Clock {
    /// The same lab by this clock.
    pub(super) fn of(self, config: Config) -> Config {
        Config {
            virtual_time: self.virtual_time,
            ..config
        }
    }
}

/// What a lab is made of, in real time.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InRealTime {
    #[command(flatten)]
    emulated: Emulated,
    /// Linux of Dom0, the guests and the native run: a version that Debian has, such as 6.12, 7.3 or 6.12-rt, or a
    /// folder with a build of your own
    #[arg(long, default_value = "6.1", value_name = "KERNEL")]
    kernel: Kernel,
    /// Another one for Dom0 and the native run
    #[arg(long, value_name = "KERNEL")]
    dom0_kernel: Option<Kernel>,
    /// Another one for the guests
    #[arg(long, value_name = "KERNEL")]
    guest_kernel: Option<Kernel>,
    /// The hypervisor and its tools
    #[arg(long, default_value = "4.17")]
    xen: Xen,
}

impl InRealTime {
    pub(super) fn name(&self) -> &str {
        &self.emulated.name
    }

    pub(super) fn config(&self, native: bool) -> Result<Config> {
        let or_all = |kernel: &Option<Kernel>| kernel.as_ref().unwrap_or(&self.kernel).clone();
        let kernels = Kernels {
            dom0: or_all(&self.dom0_kernel),
            guest: or_all(&self.guest_kernel),
        };
        self.emulated.config(self.xen, kernels, native)
    }
}

/// What a lab is made of.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Made {
    #[command(flatten)]
    of: InRealTime,
    #[command(flatten)]
    clock: Clock,
}

impl Made {
    pub(super) fn name(&self) -> &str {
        self.of.name()
    }

    /// Whether its clock counts instructions, so that nothing outside of it has a part in what is measured.
    pub(crate) const fn is_virtual(&self) -> bool {
        self.clock.virtual_time.is_some()
    }

    /// A lab with Xen.
    pub(super) fn config(&self) -> Result<Config> {
        Ok(self.clock.of(self.of.config(false)?))
    }
}

/// How a lab comes up.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Boot {
    /// Boot, and show the serial console on stderr
    #[arg(long = "console")]
    is_shown: bool,
    /// Boot, though the state of such a lab is saved
    #[arg(long)]
    cold: bool,
}

impl Boot {
    pub(super) const fn start(self) -> Start {
        Start {
            console: if self.is_shown {
                Console::Shown
            } else {
                Console::Quiet
            },
            // Only a boot has a console to show.
            begin: if self.cold || self.is_shown {
                Begin::Cold
            } else {
                Begin::Saved
            },
        }
    }
}

/// Which lab.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Named {
    /// The lab's name
    #[arg(long, default_value = "lab")]
    pub(super) name: String,
}

/// A scenario to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Scenario {
    /// The scenario file, such as scenarios/native-disk.toml
    pub(super) scenario: PathBuf,
    /// The run's directory on this machine; `runs/...` otherwise
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
    /// A static tracer that is built already
    #[arg(long, hide = true)]
    pub(super) tracer: Option<PathBuf>,
    /// Further arguments for `tracer run`, after `--`
    #[arg(last = true)]
    pub(super) args: Vec<String>,
}

/// Commands of the lab.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Bring a lab up: Xen, Dom0 and the guests A and B
    Up {
        #[command(flatten)]
        made: Made,
        #[command(flatten)]
        boot: Boot,
    },
    /// Run a command in dom0, A, B, native, or on the peer host
    Exec {
        #[command(flatten)]
        named: Named,
        domain: String,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run a scenario in a domain (up if needed), and bring the run and its report back
    Run {
        #[command(flatten)]
        made: Made,
        #[command(flatten)]
        boot: Boot,
        /// The domain in which the tracer runs
        #[arg(long = "in", default_value = "dom0", value_name = "DOMAIN")]
        domain: String,
        #[command(flatten)]
        scenario: Scenario,
    },
    /// Run a scenario on the same kernel, disk and NIC under the same QEMU, without Xen
    Native {
        #[command(flatten)]
        made: InRealTime,
        #[command(flatten)]
        boot: Boot,
        #[command(flatten)]
        scenario: Scenario,
    },
    /// Run a scenario on several kernels and hypervisors, and compare
    Matrix {
        #[command(flatten)]
        emulated: Emulated,
        /// Separated by commas
        #[arg(long, value_delimiter = ',', required = true, value_name = "KERNEL")]
        kernels: Vec<Kernel>,
        /// Separated by commas
        #[arg(long, value_delimiter = ',', required = true)]
        xens: Vec<Xen>,
        /// The domain in which the tracer runs
        #[arg(long = "in", default_value = "dom0", value_name = "DOMAIN")]
        domain: String,
        #[command(flatten)]
        scenario: Scenario,
    },
    /// Run every case of scenarios/paper that has no run yet, and draw the paper's figures from them
    Paper {
        #[command(flatten)]
        made: InRealTime,
        #[command(flatten)]
        options: paper::Options,
    },
    /// Boot two kernels alternately, run scenarios on each, and say whether the new one is slower, and where
    Check {
        #[command(flatten)]
        emulated: Emulated,
        #[command(flatten)]
        clock: Clock,
        #[command(flatten)]
        options: check::Options,
    },
    /// A terminal on dom0, A, B or native; Ctrl-] leaves
    Console {
        #[command(flatten)]
        named: Named,
        domain: String,
    },
    /// Which labs are up, and their domains
    Status {
        #[arg(long)]
        json: bool,
    },
    /// End a lab, and its native companion; nothing of them is left but cached images
    Down(Named),
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        made: InRealTime,
    }

    fn config(options: &[&str], native: bool) -> Config {
        let words = ["lab"].iter().chain(options);
        Line::try_parse_from(words)
            .unwrap()
            .made
            .config(native)
            .unwrap()
    }

    #[test]
    fn kernel_is_that_of_all_domains_unless_one_has_its_own() {
        let kernels = |options: &[&str]| config(options, false).kernels.to_string();
        assert_eq!(kernels(&[]), "6.1");
        assert_eq!(kernels(&["--kernel=7.3"]), "7.3");
        assert_eq!(
            kernels(&["--kernel=7.3", "--guest-kernel=6.12-rt"]),
            "7.3-guests-6.12-rt"
        );
        assert_eq!(kernels(&["--dom0-kernel=7.3"]), "7.3-guests-6.1");
    }

    #[test]
    fn labs_with_other_words_are_other_labs_but_without_xen_only_the_kernel_s_count() {
        let options = [
            "--kernel-args",
            "-x  y",
            "--guest-kernel-args=z",
            "--xen-args=w",
        ];
        let (plain, other) = (config(&[], false), config(&options, false));
        assert_ne!(plain, other);
        assert_eq!(other.added.dom0.appended(), " -x y");
        let guests = [
            "--guest-kernel-args=z",
            "--xen-args=w",
            "--guest-kernel=7.3",
        ];
        assert_eq!(config(&guests, true), config(&[], true));
        assert_ne!(config(&options, true), config(&[], true));
    }
}
