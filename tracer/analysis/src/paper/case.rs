//! The paper's cases, and which of them a run is.

use serde::{Deserialize, Serialize};

use crate::{breakdown::Breakdown, document::Report, scenario::RunChanges};

/// The profile that makes a run shorter; it is the same case.
const QUICK: &str = "quick";

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// Reads of 128 KiB, 8000 of them.
    Disk,
    /// A TCP stream out of the measured domain.
    Transmit,
    /// A TCP stream into it.
    Receive,
    /// One byte out, one byte back. Not in the paper, but beside it in its scenarios.
    RequestResponse,
}

impl Workload {
    /// All, in the page's order.
    pub const ALL: [Self; 4] = [
        Self::Disk,
        Self::Transmit,
        Self::Receive,
        Self::RequestResponse,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk reads",
            Self::Transmit => "transmit",
            Self::Receive => "receive",
            Self::RequestResponse => "request and response",
        }
    }

    /// Where its device can be.
    const fn setups(self) -> &'static [Setup] {
        match self {
            Self::Disk => &[Setup::Native, Setup::Dom0, Setup::Passthrough, Setup::Vbd],
            _ => &[Setup::Native, Setup::Vif, Setup::Passthrough],
        }
    }

    /// The class of the datapath that its requests take.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Receive => "net-rx",
            Self::Transmit | Self::RequestResponse => "net-tx",
        }
    }
}

/// Whose device it is, and how it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setup {
    /// Without Xen.
    Native,
    /// Dom0's own.
    Dom0,
    /// A guest's own, passed through.
    Passthrough,
    /// A guest's virtual disk.
    Vbd,
    /// A guest's virtual network card.
    Vif,
}

impl Setup {
    /// The key in files.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Dom0 => "dom0",
            Self::Passthrough => "passthrough",
            Self::Vbd => "vbd",
            Self::Vif => "vif",
        }
    }

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dom0 => "Dom0",
            _ => self.key(),
        }
    }

    /// The kind of the datapath: Dom0's devices are its own as those of a guest that are passed through.
    const fn datapath(self) -> &'static str {
        match self {
            Self::Dom0 => "passthrough",
            _ => self.key(),
        }
    }
}

/// What ran meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// Nothing.
    Idle,
    /// A busy CPU, without Xen.
    Cpu,
    /// A busy CPU in Dom0.
    CpuDom0,
    /// One in the guest A.
    CpuDomu,
    /// One in each.
    CpuBoth,
    /// UDP packets from outside to the guest A.
    Io,
}

impl Load {
    /// All, in the paper's order.
    pub const ALL: [Self; 6] = [
        Self::Idle,
        Self::Cpu,
        Self::CpuDom0,
        Self::CpuDomu,
        Self::CpuBoth,
        Self::Io,
    ];

    /// The key in files: of a load other than none, the name of its profile.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Cpu => "cpu",
            Self::CpuDom0 => "cpu-dom0",
            Self::CpuDomu => "cpu-domu",
            Self::CpuBoth => "cpu-both",
            Self::Io => "io",
        }
    }

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Cpu => "CPU load",
            Self::CpuDom0 => "CPU load in Dom0",
            Self::CpuDomu => "CPU load in DomU(A)",
            Self::CpuBoth => "CPU load in both",
            Self::Io => "UDP load",
        }
    }

    const fn is_with(self, workload: Workload, setup: Setup) -> bool {
        match self {
            Self::Idle => true,
            Self::Cpu => matches!((workload, setup), (Workload::Disk, Setup::Native)),
            Self::Io => !matches!(setup, Setup::Native),
            _ => matches!(workload, Workload::Disk) && !matches!(setup, Setup::Native),
        }
    }
}

/// One of the paper's cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// What was measured.
    pub workload: Workload,
    /// On which device.
    pub setup: Setup,
    /// What ran meanwhile.
    pub load: Load,
}

impl Case {
    /// The idle case.
    #[must_use]
    pub const fn idle(workload: Workload, setup: Setup) -> Self {
        Self {
            workload,
            setup,
            load: Load::Idle,
        }
    }

    /// Every case, in the page's order.
    pub fn all() -> impl Iterator<Item = Self> {
        Workload::ALL.into_iter().flat_map(|workload| {
            let setups = workload.setups().iter();
            setups.flat_map(move |&setup| {
                let loads = Load::ALL.into_iter();
                loads
                    .filter(move |load| load.is_with(workload, setup))
                    .map(move |load| Self {
                        workload,
                        setup,
                        load,
                    })
            })
        })
    }

    /// The case that a run is: by its scenario's name and the profiles that were applied.
    ///
    /// # Errors
    /// Says why it is none.
    pub fn of(scenario: &str, changes: Option<&RunChanges>) -> Result<Self, String> {
        let (class, setup) = class_and_setup(scenario).ok_or_else(|| {
            format!("its scenario is {scenario:?}, which is none of scenarios/paper")
        })?;
        let changes = changes.ok_or(
            "it does not say which profiles were applied: an older tracer made it; make the run again",
        )?;
        let (mut workload, mut load) = (None, None);
        for profile in &changes.profiles {
            let known = Load::ALL.into_iter().skip(1);
            if let Some(named) = known.into_iter().find(|load| load.key() == profile) {
                once(&mut load, named, profile)?;
            } else if let (false, Some(named)) = (class == Workload::Disk, direction(profile)) {
                once(&mut workload, named, profile)?;
            } else if profile != QUICK {
                return Err(format!("its profile {profile} is none of the paper's"));
            }
        }
        let case = Self {
            workload: workload.unwrap_or(class),
            setup,
            load: load.unwrap_or(Load::Idle),
        };
        if !case.load.is_with(case.workload, case.setup) {
            return Err(format!(
                "{scenario} has no case with the load {}",
                case.load.key()
            ));
        }
        Ok(case)
    }

    /// The name in reports.
    #[must_use]
    pub fn name(self) -> String {
        format!(
            "{}, {}, {}",
            self.workload.name(),
            self.setup.name(),
            self.load.name()
        )
    }

    /// The breakdowns of this datapath class, such as `net-tx`, that are of the case's device.
    pub(super) fn breakdowns<'r>(
        self,
        report: &'r Report,
        class: &'r str,
    ) -> impl Iterator<Item = &'r Breakdown> {
        let path = format!("{class}/{}", self.setup.datapath());
        let operation = match self.workload {
            Workload::Disk => "read",
            _ => "tcp",
        };
        report
            .breakdowns
            .iter()
            .filter(move |breakdown| breakdown.datapath == path && breakdown.operation == operation)
    }

    /// The breakdown of its requests: of several devices, such as a disk and what lies on it, the one with
    /// the most.
    pub(super) fn breakdown(self, report: &Report) -> Option<&Breakdown> {
        self.breakdowns(report, self.workload.class())
            .max_by_key(|breakdown| breakdown.total.count)
    }
}

/// What a scenario measures where no profile says otherwise, and on which device.
fn class_and_setup(scenario: &str) -> Option<(Workload, Setup)> {
    let (class, setup) = scenario.strip_prefix("paper-")?.split_once('-')?;
    let workload = match class {
        "disk" => Workload::Disk,
        "net" => Workload::Transmit,
        _ => return None,
    };
    let mut setups = workload.setups().iter();
    let setup = setups.find(|known| known.key() == setup)?;
    Some((workload, *setup))
}

/// The profiles of network scenarios that measure something else.
fn direction(profile: &str) -> Option<Workload> {
    match profile {
        "receive" => Some(Workload::Receive),
        "rr" => Some(Workload::RequestResponse),
        _ => None,
    }
}

fn once<T: PartialEq>(place: &mut Option<T>, value: T, profile: &str) -> Result<(), String> {
    match place.replace(value) {
        Some(old) if place.as_ref() != Some(&old) => Err(format!(
            "its profile {profile} comes beside another of the kind: the paper has one at a time"
        )),
        _ => Ok(()),
    }
}
