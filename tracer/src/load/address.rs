//! Where traffic may go: loopback, private and link-local addresses. A flood must never leave the
//! test's own network by a slip in a scenario.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail};

/// Parses `address:port` and refuses public addresses.
///
/// # Errors
/// If it is no address, or a public one.
pub fn private(text: &str) -> anyhow::Result<SocketAddr> {
    let address = text
        .to_socket_addrs()
        .with_context(|| format!("{text:?} is not an address and port, such as 10.90.0.2:5201"))?
        .next()
        .with_context(|| format!("{text:?} has no address"))?;
    if !is_private(address.ip()) {
        bail!(
            "{address} is a public address: loads go only to loopback, private and link-local ones"
        );
    }
    Ok(address)
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_refused() {
        assert!(private("127.0.0.1:80").is_ok());
        assert!(private("10.90.0.2:5201").is_ok());
        assert!(private("[fd00::1]:5201").is_ok());
        let error = private("8.8.8.8:53").unwrap_err().to_string();
        assert!(error.contains("public address"), "{error}");
        assert!(private("nonsense").is_err());
    }
}
