//! Where this machine's packages come from: its own mirror and key, for one package of another
//! release.

use std::{fs, path::Path};

/// A mirror and the key that signs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// Its address.
    pub(super) address: String,
    /// The key file.
    pub(super) key: String,
}

/// Debian's own key, where a source names none.
const KEY: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The first Debian source of this machine.
pub(super) fn debian(root: &Path) -> Option<Source> {
    let apt = root.join("etc/apt");
    let mut files = vec![apt.join("sources.list")];
    let mut more: Vec<_> = fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    more.sort();
    files.extend(more);
    files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        if file.extension().is_some_and(|ending| ending == "sources") {
            deb822(&text)
        } else {
            one_line(&text)
        }
    })
}

/// A stanza such as `URIs: http://.../debian`.
fn deb822(text: &str) -> Option<Source> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
        };
        let address = field("URIs:")?.to_owned();
        let key = field("Signed-By:")
            .filter(|key| key.starts_with('/'))
            .unwrap_or(KEY)
            .to_owned();
        is_debian(&address).then_some(Source { address, key })
    })
}

/// A line such as `deb [signed-by=KEY] http://.../debian bookworm main`.
fn one_line(text: &str) -> Option<Source> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let address = rest.split_whitespace().next()?.to_owned();
        let key = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="));
        is_debian(&address).then(|| Source {
            address,
            key: key.unwrap_or(KEY).to_owned(),
        })
    })
}

/// The main archive, not the one of security updates.
fn is_debian(address: &str) -> bool {
    address.trim_end_matches('/').ends_with("/debian")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let stanza = "Types: deb\nURIs: https://mirror.example/debian-security\nSuites: x\n\nTypes: deb\nURIs: https://mirror.example/debian\nSigned-By: /usr/share/keyrings/k.gpg\n";
        let expected = Source {
            address: "https://mirror.example/debian".into(),
            key: "/usr/share/keyrings/k.gpg".into(),
        };
        assert_eq!(deb822(stanza), Some(expected.clone()));
        let line = "# deb nothing\ndeb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] https://mirror.example/debian bookworm main\n";
        assert_eq!(one_line(line), Some(expected));
        assert_eq!(
            one_line("deb https://mirror.example/ubuntu noble main"),
            None
        );
    }
}
