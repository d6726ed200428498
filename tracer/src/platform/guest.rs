//! Guests as the toolstack in Dom0 knows them.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::platform::program;

/// A running guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Its name.
    pub name: String,
    /// Its number.
    pub domid: u16,
}

impl Guest {
    /// Looks a guest up by its name.
    ///
    /// # Errors
    /// If there is none of this name, or this is not Dom0.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        let domid = output("xl", &["domid", name]).with_context(|| {
            format!("there is no guest {name:?}; `xl list` shows those there are")
        })?;
        let domid = domid
            .trim()
            .parse()
            .with_context(|| format!("xl domid {name} says {domid:?}"))?;
        Ok(Self {
            name: name.into(),
            domid,
        })
    }

    /// The terminal of a console channel.
    ///
    /// # Errors
    /// If the guest has no channel of this name.
    pub fn channel(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = format!("/local/domain/{}/device/console", self.domid);
        let entries = output("xenstore-ls", &["-f", &folder]).unwrap_or_default();
        match terminal_of(&entries, name) {
            Some(terminal) => Ok(terminal),
            None => bail!(
                "guest {} has no console channel {name:?}: its configuration needs channel = [ 'name={name},connection=pty' ], and in the guest `tracer agent --terminal /dev/hvcN` must run",
                self.name
            ),
        }
    }
}

/// The `tty` of the console whose `name` is this, among lines such as
/// `/local/domain/1/device/console/2/tty = "/dev/pts/5"`.
fn terminal_of(entries: &str, name: &str) -> Option<PathBuf> {
    let value_of = |path: &str| {
        entries.lines().find_map(|line| {
            let (key, value) = line.split_once(" = ")?;
            (key == path).then(|| value.trim_matches('"'))
        })
    };
    entries.lines().find_map(|line| {
        let (key, value) = line.split_once(" = ")?;
        let device = key.strip_suffix("/name")?;
        if value.trim_matches('"') != name {
            return None;
        }
        value_of(&format!("{device}/tty")).map(PathBuf::from)
    })
}

/// What a program of the toolstack prints.
///
/// # Errors
/// If it cannot be run, or fails; the message has its words.
pub fn output(program: &str, args: &[&str]) -> anyhow::Result<String> {
    program::output(program, args, "is this Dom0?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_found_by_its_name() {
        let entries = "/local/domain/1/device/console/1/name = \"lab\"\n/local/domain/1/device/console/1/tty = \"/dev/pts/4\"\n/local/domain/1/device/console/2/tty = \"/dev/pts/5\"\n/local/domain/1/device/console/2/name = \"tracer\"\n";
        assert_eq!(terminal_of(entries, "tracer"), Some("/dev/pts/5".into()));
        assert_eq!(terminal_of(entries, "other"), None);
    }
}
