//! How a domain's agent is reached, as scenarios say it.

use std::{fmt, path::PathBuf, str::FromStr};

/// The channel that an agent listens on if none is named.
const CHANNEL: &str = "tracer";

/// Where an agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// In this domain: started by the loader.
    Local,
    /// Behind a console channel of the guest (`channel=` in its configuration), by the channel's name.
    Console(String),
    /// Behind a terminal: what a console channel is in Dom0.
    Terminal(PathBuf),
    /// Behind a Unix socket, such as one that QEMU makes of a guest's serial port.
    Unix(PathBuf),
    /// On a host that ssh reaches without a password.
    Ssh(String),
}

/// What an address may look like.
pub const ALLOWED: &str = "\"local\", \"console\", \"console:CHANNEL\", \"console:/dev/pts/N\", \"unix:/PATH\", \"ssh:[USER@]HOST\"";

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("is {text:?}; allowed: {ALLOWED}");
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        match (scheme, rest) {
            ("local", "") => Ok(Self::Local),
            ("console", "") => Ok(Self::Console(CHANNEL.into())),
            ("console", path) if path.starts_with('/') => Ok(Self::Terminal(path.into())),
            ("console", name) => Ok(Self::Console(name.into())),
            ("unix", path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            // A host that begins with a dash would be an option of ssh's.
            ("ssh", host) if !host.is_empty() && !host.starts_with('-') => {
                Ok(Self::Ssh(host.into()))
            }
            _ => Err(refused()),
        }
    }
}

impl Address {
    /// What to do if nobody answers.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Local => "is this program's own file as it was?".into(),
            Self::Console(_) | Self::Terminal(_) => {
                "does the guest run, and `tracer agent --terminal /dev/hvcN` in it, of this version?"
                    .into()
            }
            Self::Unix(path) => format!(
                "does `tracer agent --socket {}` run at its other end, and is no other run using it?",
                path.display()
            ),
            Self::Ssh(host) => {
                format!("does `ssh -o BatchMode=yes {host} tracer --version` work here?")
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => write!(f, "this domain"),
            Self::Console(name) => write!(f, "the console channel {name}"),
            Self::Terminal(path) => write!(f, "the terminal {}", path.display()),
            Self::Unix(path) => write!(f, "the socket {}", path.display()),
            Self::Ssh(host) => write!(f, "ssh to {host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_they_look_like() {
        for (text, address) in [
            ("local", Address::Local),
            ("console", Address::Console("tracer".into())),
            ("console:lab", Address::Console("lab".into())),
            ("console:/dev/pts/4", Address::Terminal("/dev/pts/4".into())),
            ("unix:/run/b.sock", Address::Unix("/run/b.sock".into())),
            ("ssh:root@b", Address::Ssh("root@b".into())),
        ] {
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
        for text in [
            "",
            "remote",
            "unix:b.sock",
            "ssh:",
            "ssh:-oProxyCommand=x",
            "local:1",
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains("allowed: \"local\""), "{error}");
        }
    }
}
