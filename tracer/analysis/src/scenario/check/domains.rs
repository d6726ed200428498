//! Domains: how each is reached, what is traced there, what is done to guests.

use crate::scenario::{
    address::{ALLOWED, Address},
    check::rule::{Checked, check_datapaths, check_name, problem},
    types::{Domain, Scenario},
};

pub(super) fn check_domains(scenario: &Scenario) -> Checked {
    if scenario.domain.is_empty() {
        return Err(problem("domain", "there must be at least one"));
    }
    for (index, domain) in scenario.domain.iter().enumerate() {
        check_name(&format!("domain.{index}.name"), &domain.name)?;
        if scenario.domain[..index]
            .iter()
            .any(|other| other.name == domain.name)
        {
            return Err(problem(
                format!("domain.{index}.name"),
                format!("{:?} is there twice", domain.name),
            ));
        }
        if let Err(error) = domain.agent.parse::<Address>() {
            return Err(problem(format!("domain.{index}.agent"), error));
        }
        check_guest(index, domain)?;
        let same = |other: &&Domain| {
            guest_name(other).is_some_and(|name| guest_name(domain) == Some(name))
        };
        if let Some(other) = scenario.domain[..index].iter().find(same) {
            return Err(problem(
                format!("domain.{index}.guest"),
                format!("is the same guest as that of domain {:?}", other.name),
            ));
        }
        if let Some(datapaths) = &domain.datapaths {
            check_datapaths(&format!("domain.{index}.datapaths"), datapaths)?;
        }
    }
    let local = |domain: &&Domain| domain.agent == "local";
    if let Some(second) = scenario.domain.iter().filter(local).nth(1) {
        return Err(problem(
            "domain",
            format!(
                "{:?} is local, too; a domain elsewhere needs an agent: {ALLOWED}",
                second.name
            ),
        ));
    }
    Ok(())
}

/// As Xen calls a domain, unless it is the loader's own.
fn guest_name(domain: &Domain) -> Option<&String> {
    let name = domain.guest.as_ref().unwrap_or(&domain.name);
    (domain.agent != "local").then_some(name)
}

/// What is handed to the toolstack: nothing that it would take for an option, for another guest's number, or
/// for more than one line of a configuration.
fn check_guest(index: usize, domain: &Domain) -> Checked {
    let field = |name: &str| format!("domain.{index}.{name}");
    let is_name = |name: &String| {
        let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\'' | '\\');
        let is_number = name.chars().all(|c| c.is_ascii_digit());
        name.chars().all(plain) && !is_number && !name.starts_with(['-', ' ']) && name != "Domain-0"
    };
    if let Some(name) = domain.guest.as_ref().filter(|name| !is_name(name)) {
        return Err(problem(
            field("guest"),
            format!(
                "is {name:?}; allowed: a name as `xl list` shows it, of plain characters, that is no number, and not Dom0's"
            ),
        ));
    }
    if domain.agent == "local" && domain.guest.is_some() {
        return Err(problem(
            field("guest"),
            format!(
                "the tracer's own domain is no guest that it knows; a guest needs an agent elsewhere: {ALLOWED}"
            ),
        ));
    }
    if let Some(file) = domain
        .create
        .as_ref()
        .filter(|file| file.starts_with('-') || file.is_empty())
    {
        return Err(problem(
            field("create"),
            format!("{file:?} is no file; allowed: the path of a configuration of xl's"),
        ));
    }
    if domain.agent == "local" && domain.create.is_some() {
        return Err(problem(
            field("create"),
            format!("a guest that is created needs an agent elsewhere: {ALLOWED}"),
        ));
    }
    check_devices_and_cpus(index, domain)
}

/// The devices that a guest gets, and its virtual CPUs.
fn check_devices_and_cpus(index: usize, domain: &Domain) -> Checked {
    let field = |name: &str| format!("domain.{index}.{name}");
    if domain.vcpus == Some(0) {
        return Err(problem(field("vcpus"), "is 0; allowed: at least 1"));
    }
    let is_address = |text: &String| {
        let parts: Vec<&str> = text.split([':', '.']).collect();
        let is_hex = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_hexdigit());
        text.contains('.') && (3..=4).contains(&parts.len()) && parts.iter().all(is_hex)
    };
    if let Some(device) = domain.pci.iter().find(|device| !is_address(device)) {
        return Err(problem(
            field("pci"),
            format!("{device:?} is no PCI address; allowed: such as \"0000:00:1f.2\""),
        ));
    }
    let is_list = |text: &String| {
        let plain = |c: char| c.is_ascii_digit() || matches!(c, '-' | ',' | '^');
        text == "all" || (text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(plain))
    };
    match domain.vcpu_pin.iter().find(|cpus| !is_list(cpus)) {
        Some(cpus) => Err(problem(
            field("vcpu_pin"),
            format!("{cpus:?} is no list of CPUs; allowed: such as \"3\", \"0-1,3\", \"all\""),
        )),
        None => Ok(()),
    }
}
