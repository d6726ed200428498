//! Two network namespaces joined by a veth pair.

use anyhow::Context as _;

use crate::resource::{
    Made, Place,
    ledger::{Entry, Ledger, ip},
};
use tracer_analysis::scenario::types::{End, Resource};

pub(super) fn create(resource: &Resource, ledger: &mut Ledger) -> anyhow::Result<Made> {
    let left = resource.left.as_ref().context("left is missing")?;
    let right = resource.right.as_ref().context("right is missing")?;
    let own = std::process::id();
    let names = [
        format!("tracer-{}-left-{own}", resource.name),
        format!("tracer-{}-right-{own}", resource.name),
    ];
    for name in &names {
        ledger.note(&Entry::Namespace(name.clone()))?;
        ip(&["netns", "add", name])?;
    }
    let [a, b] = &names;
    // From within one of them: kernels up to 6.12 refuse a name that the caller's own namespace has.
    ip(&[
        "-n", a, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", b,
    ])?;
    for (name, end) in [(a, left), (b, right)] {
        ip(&["-n", name, "address", "add", &end.address, "dev", "eth0"])?;
        if let Some(mtu) = resource.mtu {
            ip(&["-n", name, "link", "set", "eth0", "mtu", &mtu.to_string()])?;
        }
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
    }
    Ok(Made::Pair {
        left: place(a, left),
        right: place(b, right),
    })
}

fn place(namespace: &str, end: &End) -> Place {
    let address = end.address.split('/').next().unwrap_or_default();
    Place {
        namespace: namespace.into(),
        address: address.into(),
    }
}

/// Interfaces of a namespace, or of the host's own, by index.
pub(super) fn interfaces(namespace: Option<&str>) -> Vec<(u32, String)> {
    let inside = namespace.map(|name| ["-n", name]);
    let mut args: Vec<&str> = inside.into_iter().flatten().collect();
    args.extend(["-o", "link"]);
    let printed = ip(&args).unwrap_or_default();
    printed
        .lines()
        .filter_map(|line| {
            let (index, rest) = line.split_once(": ")?;
            let name = rest.split([':', '@']).next()?;
            Some((index.parse().ok()?, name.to_owned()))
        })
        .collect()
}
