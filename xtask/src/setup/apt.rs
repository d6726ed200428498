//! The machine's own apt sources: which mirror and which keyring it trusts.
use std::path::Path;

use anyhow::{Context as _, Result};

/// One archive as the machine has it, in the words of deb822.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Archive {
    /// The mirror, first of several.
    pub(crate) uri: String,
    /// Release names.
    pub(crate) suites: Vec<String>,
    /// `main`, `universe` and so on.
    pub(crate) components: Vec<String>,
    /// A keyring file, or a whole key with its continuation lines, as written.
    pub(crate) signed_by: Option<String>,
}

impl Archive {
    /// The same mirror and keyring, for another suite, as a `.sources` file.
    pub(crate) fn for_suite(&self, suite: &str) -> String {
        let components = self.components.join(" ");
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: {components}\n",
            self.uri
        );
        if let Some(key) = &self.signed_by {
            text.push_str(&format!("Signed-By:{key}\n"));
        }
        text
    }
}

/// The distribution's main archive: the one that has the suite of the running release.
pub(crate) fn main_archive(etc_apt: &Path, codename: &str) -> Result<Archive> {
    archives(etc_apt)?
        .into_iter()
        .find(|archive| {
            archive.suites.iter().any(|suite| suite == codename)
                && archive
                    .components
                    .iter()
                    .any(|component| component == "main")
        })
        .with_context(|| {
            format!(
                "no apt source under {} has the suite {codename}",
                etc_apt.display()
            )
        })
}

fn archives(etc_apt: &Path) -> Result<Vec<Archive>> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = etc_apt.join("sources.list.d").read_dir() {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut archives = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let parse = match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => parse_deb822,
            Some("list") => parse_one_line,
            _ => continue,
        };
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("{} could not be read", file.display()))?;
        archives.extend(parse(&text));
    }
    Ok(archives)
}

/// Reads a `.sources` file: paragraphs of fields, disabled and source-only ones left out.
pub(crate) fn parse_deb822(text: &str) -> Vec<Archive> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .split(|line| line.trim().is_empty())
        .filter_map(|paragraph| {
            let words = |name| split(&field(paragraph, name).unwrap_or_default());
            let disabled = field(paragraph, "Enabled").is_some_and(|value| value.trim() == "no");
            if disabled || !words("Types").iter().any(|kind| kind == "deb") {
                return None;
            }
            Some(Archive {
                uri: words("URIs").first()?.clone(),
                suites: words("Suites"),
                components: words("Components"),
                signed_by: field(paragraph, "Signed-By"),
            })
        })
        .collect()
}

/// The field's value as written, with its continuation lines.
fn field(paragraph: &[&str], name: &str) -> Option<String> {
    let start = paragraph.iter().position(|line| {
        line.split_once(':')
            .is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
    })?;
    let mut value = paragraph[start].split_once(':')?.1.to_owned();
    for line in paragraph[start + 1..]
        .iter()
        .take_while(|line| line.starts_with([' ', '\t']))
    {
        value.push('\n');
        value.push_str(line);
    }
    Some(value)
}

/// Reads a one-line-style `.list` file.
pub(crate) fn parse_one_line(text: &str) -> Vec<Archive> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Archive> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracket) => bracket.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="))
        .map(|key| format!(" {key}"));
    Some(Archive {
        uri,
        suites: vec![suite],
        components: words.collect(),
        signed_by,
    })
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Which distribution this is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Release {
    /// `debian`, `ubuntu`.
    pub(crate) id: String,
    /// `bookworm`, `noble`.
    pub(crate) codename: String,
}

impl Release {
    /// Reads `/etc/os-release`.
    pub(crate) fn parse(text: &str) -> Self {
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(|value| value.trim_matches('"').to_owned())
                .unwrap_or_default()
        };
        Self {
            id: value("ID"),
            codename: value("VERSION_CODENAME"),
        }
    }

    /// Of the running machine.
    pub(crate) fn of_machine() -> Result<Self> {
        let text = std::fs::read_to_string("/etc/os-release")
            .context("/etc/os-release could not be read, so the distribution is unknown")?;
        Ok(Self::parse(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "Types: deb deb-src\n# comment\nURIs: http://mirror.example/debian\n\
        Suites: bookworm bookworm-updates\nComponents: main\n\
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
        Types: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\n\
        Components: main\n\n\nTypes: deb-src\nURIs: http://x.example\nSuites: bookworm\n\
        Components: main\n\nEnabled: no\nTypes: deb\nURIs: http://y.example\nSuites: bookworm\n";

    #[test]
    fn deb822_gives_enabled_binary_archives() {
        let archives = parse_deb822(DEB822);
        assert_eq!(archives.len(), 2);
        assert_eq!(archives[0].uri, "http://mirror.example/debian");
        assert_eq!(archives[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(
            archives[0].for_suite("sid"),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        );
        assert_eq!(archives[1].signed_by, None);
    }

    #[test]
    fn key_written_inside_a_source_is_kept() {
        let text = "Types: deb\nURIs: http://m.example\nSuites: noble\nComponents: main universe\n\
            Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINB\n";
        let archives = parse_deb822(text);
        let key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINB\n";
        assert!(archives[0].for_suite("devel").ends_with(key));
    }

    #[test]
    fn one_line_style_is_read_with_and_without_options() {
        let text = "# deb http://no.example bookworm main\n\
            deb [arch=amd64 signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg] \
            http://archive.example/ubuntu noble main universe # comment\n\
            deb-src http://archive.example/ubuntu noble main\n\
            deb http://archive.example/ubuntu noble-updates main\n";
        let archives = parse_one_line(text);
        assert_eq!(archives.len(), 2);
        assert_eq!(archives[0].components, ["main", "universe"]);
        assert_eq!(
            archives[0].signed_by.as_deref(),
            Some(" /usr/share/keyrings/ubuntu-archive-keyring.gpg")
        );
        assert_eq!(archives[1].signed_by, None);
    }

    #[test]
    fn release_is_read_with_and_without_quotes() {
        let release = Release::parse("ID=debian\nVERSION_CODENAME=\"bookworm\"\nID_LIKE=x\n");
        assert_eq!(
            release,
            Release {
                id: "debian".into(),
                codename: "bookworm".into()
            }
        );
    }
}
