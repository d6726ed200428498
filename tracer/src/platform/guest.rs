//! Guests as the toolstack in Dom0 knows them.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::platform::program;

/// A running domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Its name.
    pub name: String,
    /// Its number, which no other domain gets until Xen has counted round.
    pub domid: u16,
}

impl Guest {
    /// Every domain, Dom0 among them.
    ///
    /// # Errors
    /// If the toolstack cannot be asked.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        Ok(parse_list(&output("xl", &["list"])?))
    }

    /// Looks a guest up by its name.
    ///
    /// # Errors
    /// If there is none of this name, or this is not Dom0.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        let all = Self::all()
            .with_context(|| format!("cannot look for guest {name:?}; is this Dom0?"))?;
        let names: Vec<String> = all.iter().map(|guest| guest.name.clone()).collect();
        all.into_iter()
            .find(|guest| guest.name == name)
            .with_context(|| {
                format!(
                    "no guest {name:?} runs; start it, or name one of those that `xl list` shows: {}",
                    names.join(", ")
                )
            })
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// If the toolstack cannot be asked.
    pub fn runs(&self) -> anyhow::Result<bool> {
        Ok(Self::all()?.contains(self))
    }

    /// The terminal of a console channel.
    ///
    /// # Errors
    /// If the guest has no channel of this name.
    pub fn channel(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = format!("/local/domain/{}/device/console", self.domid);
        let entries = output("xenstore-ls", &["-f", "-p", &folder]).unwrap_or_default();
        match terminal_of(&entries, name) {
            Some(terminal) => Ok(terminal),
            None => bail!(
                "guest {} has no console channel {name:?}: its configuration needs channel = [ 'name={name},connection=pty' ], and in the guest `tracer agent --terminal /dev/hvcN` must run",
                self.name
            ),
        }
    }
}

/// Lines such as `a guest   7   768     1     -b----      75.0`.
fn parse_list(listed: &str) -> Vec<Guest> {
    let lines = listed.lines().skip(1);
    let guests = lines.filter_map(|line| {
        // A name may have spaces: counted from the end.
        let mut rest = line.trim_end();
        let mut id = "";
        for _ in 0..5 {
            (rest, id) = rest.rsplit_once(char::is_whitespace)?;
            rest = rest.trim_end();
        }
        Some(Guest {
            name: rest.to_owned(),
            domid: id.parse().ok()?,
        })
    });
    guests.collect()
}

/// The `tty` of the console whose `name` is this, among lines such as
/// `/local/domain/1/device/console/2/tty = "/dev/pts/5"   (n0,r1)`. The folder is the guest's, which could
/// make a channel of its own there that leads to a terminal of somebody else: only what belongs to Dom0, and
/// is a pseudo-terminal, is believed.
fn terminal_of(entries: &str, name: &str) -> Option<PathBuf> {
    let entries: Vec<(&str, &str)> = entries.lines().filter_map(believed).collect();
    let value_of = |path: String| {
        let mut found = entries.iter().filter(|(key, _)| *key == path);
        found.next().map(|(_, value)| *value)
    };
    entries.iter().find_map(|(key, value)| {
        let device = key.strip_suffix("/name").filter(|_| *value == name)?;
        let terminal = value_of(format!("{device}/tty"))?;
        let number = terminal.strip_prefix("/dev/pts/")?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| PathBuf::from(terminal))
    })
}

/// Key and value of an entry whose owner, the first of its permissions, is Dom0: no guest can make one.
fn believed(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = line.split_once(" = \"")?;
    // A value may have quotation marks in it.
    let (value, permissions) = rest.rsplit_once('"')?;
    let owner = permissions.split(['(', ',', ')']).nth(1)?;
    (owner.get(1..) == Some("0")).then_some((key, value))
}

/// What a program of the toolstack prints.
///
/// # Errors
/// If it cannot be run, or fails; the message has its words.
pub fn output(program: &str, args: &[&str]) -> anyhow::Result<String> {
    program::output(
        program,
        args,
        "guests are reached, created and pinned from Dom0, with Xen's tools",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_found_by_its_name() {
        let entries = "/local/domain/1/device/console/1/name = \"lab\"   (n0,r1)\n/local/domain/1/device/console/1/tty = \"/dev/pts/4\"   (n0,r1)\n/local/domain/1/device/console/2/tty = \"/dev/pts/5\"   (n0,r1)\n/local/domain/1/device/console/2/name = \"tracer\"   (n0,r1)\n";
        assert_eq!(terminal_of(entries, "tracer"), Some("/dev/pts/5".into()));
        assert_eq!(terminal_of(entries, "other"), None);
    }

    #[test]
    fn a_channel_that_the_guest_has_made_itself_is_none() {
        let entry = |key: &str, value: &str, rights: &str| {
            format!("/local/domain/1/device/console/9/{key} = \"{value}\"   {rights}\n")
        };
        let name = entry("name", "tracer", "(n0,r1)");
        for (tty, rights) in [
            ("/dev/pts/0", "(n1,r0)"),
            ("/dev/pts/0\"   (n0,r1)", "(n1,r0)"),
            ("/dev/watchdog", "(n0,r1)"),
            ("/dev/pts/../sda", "(n0,r1)"),
            ("/dev/pts/", "(n0,r1)"),
        ] {
            let entries = name.clone() + &entry("tty", tty, rights);
            assert_eq!(terminal_of(&entries, "tracer"), None, "{entries}");
        }
        let forged = entry("name", "tracer", "(n1,r0)") + &entry("tty", "/dev/pts/0", "(n0,r1)");
        assert_eq!(terminal_of(&forged, "tracer"), None);
    }

    #[test]
    fn domains_are_read_as_xl_prints_them() {
        let listed = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
            Domain-0                                     0  1536     1     r-----      45.8\n\
            a guest                                     12   768     1     -b----      12.1\n";
        let guest = |name: &str, domid| Guest {
            name: name.into(),
            domid,
        };
        assert_eq!(
            parse_list(listed),
            [guest("Domain-0", 0), guest("a guest", 12)]
        );
    }
}
