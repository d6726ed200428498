//! What the user adds to the command lines of Xen and of the kernels.
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Words of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Words(Vec<String>);

impl Words {
    /// What follows other words.
    pub(super) fn appended(&self) -> String {
        self.0.iter().map(|word| format!(" {word}")).collect()
    }
}

impl FromStr for Words {
    type Err = String;

    /// What a guest's configuration, where the words stand in quotes, would take for something else is refused.
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |c: &char| !(c.is_ascii_graphic() || *c == ' ') || ['\'', '\\'].contains(c);
        match text.chars().find(refused) {
            Some(c) => Err(format!("{c:?} cannot stand in it")),
            None => Ok(Self(text.split_whitespace().map(str::to_owned).collect())),
        }
    }
}

/// The words of all command lines of a lab.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Added {
    /// To Dom0's kernel, or that of the native run.
    pub(super) dom0: Words,
    pub(super) guest: Words,
    pub(super) xen: Words,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_however_they_are_spaced() {
        let words: Words = " nokaslr  mitigations=off ".parse().unwrap();
        assert_eq!(words.appended(), " nokaslr mitigations=off");
        assert_eq!(words, "nokaslr mitigations=off".parse().unwrap());
        assert_eq!("".parse::<Words>().unwrap().appended(), "");
    }

    #[test]
    fn what_would_end_a_guest_s_quotes_is_refused() {
        for text in ["a'b", "a\\b", "a\nb", "ä"] {
            assert!(text.parse::<Words>().is_err(), "{text}");
        }
        assert!("dyndbg=\"file,x +p\"".parse::<Words>().is_ok());
    }
}
