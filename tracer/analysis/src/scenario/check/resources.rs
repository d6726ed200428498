//! Resources, and references to them.

use crate::scenario::{
    check::rule::{Checked, check_name, problem},
    types::{ResourceKind, Scenario},
};

pub(super) fn check_resources(scenario: &Scenario) -> Checked {
    for (index, resource) in scenario.resource.iter().enumerate() {
        let field = |name: &str| format!("resource.{index}.{name}");
        check_name(&field("name"), &resource.name)?;
        if scenario.resource[..index]
            .iter()
            .any(|other| other.name == resource.name)
        {
            return Err(problem(
                field("name"),
                format!("{:?} is there twice", resource.name),
            ));
        }
        match resource.kind {
            ResourceKind::Loop | ResourceKind::File => {
                let size = resource
                    .size
                    .ok_or_else(|| problem(field("size"), "is missing"))?;
                if size.0 < 4096 || size.0 % 512 != 0 {
                    return Err(problem(
                        field("size"),
                        format!("is {} bytes; allowed: a multiple of 512 from 4096", size.0),
                    ));
                }
                if resource.left.is_some() || resource.right.is_some() || resource.mtu.is_some() {
                    return Err(problem(
                        field("kind"),
                        "left, right and mtu belong to kind = \"veth\"",
                    ));
                }
            }
            ResourceKind::Veth => check_veth(resource, &field)?,
        }
    }
    Ok(())
}

fn check_veth(
    resource: &crate::scenario::types::Resource,
    field: &impl Fn(&str) -> String,
) -> Checked {
    if resource.size.is_some() || resource.directory.is_some() {
        return Err(problem(
            field("kind"),
            "size and directory belong to kind = \"loop\" or \"file\"",
        ));
    }
    for (side, end) in [("left", &resource.left), ("right", &resource.right)] {
        let end = end
            .as_ref()
            .ok_or_else(|| problem(field(side), "is missing"))?;
        let well_formed = end
            .address
            .split_once('/')
            .is_some_and(|(address, prefix)| {
                address.parse::<std::net::IpAddr>().is_ok()
                    && prefix.parse::<u8>().is_ok_and(|p| p <= 128)
            });
        if !well_formed {
            return Err(problem(
                format!("{}.address", field(side)),
                format!(
                    "is {:?}; allowed: an address and a prefix length, such as \"10.90.0.1/24\"",
                    end.address
                ),
            ));
        }
    }
    match resource.mtu {
        Some(mtu) if !(68..=65_535).contains(&mtu) => Err(problem(
            field("mtu"),
            format!("is {mtu}; allowed: 68 to 65535"),
        )),
        _ => Ok(()),
    }
}

pub(super) fn refer(
    scenario: &Scenario,
    field: &str,
    name: &str,
    kinds: &[ResourceKind],
) -> Checked {
    let fits = |resource: &&crate::scenario::types::Resource| kinds.contains(&resource.kind);
    if scenario
        .resource
        .iter()
        .filter(fits)
        .any(|resource| resource.name == name)
    {
        return Ok(());
    }
    let known: Vec<String> = scenario
        .resource
        .iter()
        .filter(fits)
        .map(|resource| format!("@{}", resource.name))
        .collect();
    let known = if known.is_empty() {
        "none is defined".into()
    } else {
        known.join(", ")
    };
    Err(problem(
        field,
        format!("there is no resource @{name} of a fitting kind; allowed: {known}"),
    ))
}
