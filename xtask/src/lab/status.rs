//! What is up.
use anyhow::{Context as _, Result};
use serde::Serialize;

use super::guests::GUESTS;
use super::instance::{self, Config, Lab};
use super::kernel::Kernels;
use super::{packages, place};

/// One lab, for people and scripts.
#[derive(Debug, Serialize)]
struct Status {
    name: String,
    folder: String,
    /// What it is made of; absent while it comes up, or of the left-overs of one that ended badly.
    config: Option<Config>,
    /// What `uname -r` says in its domains.
    releases: Option<Releases>,
    /// QEMU's process.
    qemu: Option<u32>,
    /// Domains that answer commands.
    domains: Vec<&'static str>,
}

/// The kernels' own names of themselves.
#[derive(Debug, Serialize)]
struct Releases {
    /// Dom0's, or that of the lab without Xen.
    dom0: String,
    guest: String,
}

impl Releases {
    /// As the cache has them now.
    fn of(kernels: &Kernels) -> Option<Self> {
        Some(Self {
            dom0: packages::release(&kernels.dom0)?,
            guest: packages::release(&kernels.guest)?,
        })
    }

    fn text(&self) -> String {
        let Self { dom0, guest } = self;
        if guest == dom0 {
            dom0.clone()
        } else {
            format!("{dom0}, {guest} in the guests")
        }
    }
}

impl Status {
    fn of(lab: &Lab) -> Self {
        let config = lab.running();
        let mut domains = Vec::new();
        if let Some(config) = &config {
            domains.push(config.first_domain());
            domains.extend(
                GUESTS
                    .iter()
                    .filter(|guest| lab.has_guest(guest))
                    .map(|guest| guest.name),
            );
            domains.push("peer");
        }
        Self {
            name: lab.name.clone(),
            folder: lab.folder.display().to_string(),
            releases: config
                .as_ref()
                .and_then(|config| Releases::of(&config.kernels)),
            config,
            qemu: instance::qemu(&lab.folder),
            domains,
        }
    }

    fn line(&self) -> String {
        let Self {
            name,
            config,
            releases,
            qemu,
            domains,
            ..
        } = self;
        match (config, qemu) {
            (Some(config), Some(pid)) => {
                let xen = if config.native {
                    "no Xen".into()
                } else {
                    format!("Xen {}", config.xen)
                };
                let linux = releases.as_ref().map(Releases::text);
                format!(
                    "{name}: {xen}, Linux {}, {} CPUs, QEMU {pid}; {}",
                    linux.unwrap_or_else(|| config.kernels.to_string()),
                    config.cpus,
                    domains.join(", ")
                )
            }
            (None, Some(pid)) => format!("{name}: comes up, QEMU {pid}"),
            (_, None) => {
                format!("{name}: ended; `cargo xtask lab down --name {name}` removes what is left")
            }
        }
    }
}

/// Prints every lab of this machine.
pub(super) fn print(json: bool) -> Result<()> {
    let labs = place::labs()?
        .iter()
        .map(|name| Lab::named(name).map(|lab| Status::of(&lab)))
        .collect::<Result<Vec<_>>>()?;
    if json {
        let text = serde_json::to_string_pretty(&labs).context("the labs' states")?;
        println!("{text}");
    } else if labs.is_empty() {
        println!("no lab is up");
    } else {
        labs.iter().for_each(|lab| println!("{}", lab.line()));
    }
    Ok(())
}
