//! What is up.
use anyhow::{Context as _, Result};
use serde::Serialize;

use super::guests::GUESTS;
use super::instance::{self, Config, Lab};
use super::place;

/// One lab, for people and scripts.
#[derive(Debug, Serialize)]
struct Status {
    name: String,
    folder: String,
    /// What it is made of; absent while it comes up, or of the left-overs of one that ended badly.
    config: Option<Config>,
    /// QEMU's process.
    qemu: Option<u32>,
    /// Domains that answer commands.
    domains: Vec<&'static str>,
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
            config,
            qemu: instance::qemu(&lab.folder),
            domains,
        }
    }

    fn line(&self) -> String {
        let Self {
            name,
            config,
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
                format!(
                    "{name}: {xen}, Linux {}, {} CPUs, QEMU {pid}; {}",
                    config.kernel,
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
