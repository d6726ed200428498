//! Which Linux a lab has: one of Debian's by its number, or a build of the user's own.
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::layout::KernelFiles;

/// The architecture at the end of each release of Debian's.
const ARCHITECTURE: &str = "-amd64";

/// A kernel that can be booted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kernel {
    /// From Debian's archive.
    Debian(Debian),
    /// From a folder.
    Own(Build),
}

/// A kernel of Debian's, as people or its own release call it: `6.12`, `7.3-rt`, `6.12.43+deb13-cloud-amd64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Debian {
    /// Linux's version or the first part of it, or the release without flavour and architecture.
    pub(super) version: String,
    pub(super) flavour: Flavour,
}

/// What a kernel of Debian's is configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flavour {
    Generic,
    /// Small, for virtual machines of cloud providers.
    Cloud,
    /// With PREEMPT_RT.
    RealTime,
}

impl Flavour {
    const ALL: [Self; 3] = [Self::Cloud, Self::RealTime, Self::Generic];

    /// What it adds to the version in a release's name.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Generic => "",
            Self::Cloud => "-cloud",
            Self::RealTime => "-rt",
        }
    }
}

/// A user's build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Build {
    pub(super) folder: PathBuf,
    /// What `uname -r` will say.
    pub(super) release: String,
}

impl Debian {
    /// Reads what looks like a version; whether Debian has it is the archive's to say.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix(ARCHITECTURE).unwrap_or(text);
        // The generic flavour's suffix is empty, and last.
        let (flavour, version) = Flavour::ALL
            .into_iter()
            .find_map(|flavour| Some((flavour, name.strip_suffix(flavour.suffix())?)))?;
        let number = version.split(['+', '~', '-']).next()?;
        let mut parts = number.split('.');
        let is_number =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let good = number.contains('.')
            && parts.all(is_number)
            && version
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".+~-".contains(&byte));
        good.then(|| Self {
            version: version.to_owned(),
            flavour,
        })
    }

    /// As `uname -r` has it, if the version is a whole one.
    pub(super) fn release(&self) -> String {
        format!("{self}{ARCHITECTURE}")
    }
}

impl fmt::Display for Debian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.version, self.flavour.suffix())
    }
}

impl TryFrom<String> for Debian {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no version of Linux"))
    }
}

impl From<Debian> for String {
    fn from(debian: Debian) -> Self {
        debian.to_string()
    }
}

/// As the command line has it.
impl FromStr for Kernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(debian) = Debian::parse(text) {
            return Ok(Self::Debian(debian));
        }
        let folder = Path::new(text);
        if !folder.is_dir() {
            return Err(
                "neither a version, such as 6.12, 7.3 or 6.12-rt, nor a folder with a build".into(),
            );
        }
        let folder = folder.canonicalize().map_err(|error| error.to_string())?;
        let files = KernelFiles::of(&folder).map_err(|error| format!("{error:#}"))?;
        Ok(Self::Own(Build {
            folder,
            release: files.release,
        }))
    }
}

/// The version or release, fit for the name of a file.
impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian(debian) => debian.fmt(f),
            Self::Own(build) => {
                let other = |c: char| !c.is_ascii_alphanumeric() && !"._+~-".contains(c);
                f.write_str(&build.release.replace(other, "-"))
            }
        }
    }
}

/// Linux of a lab's domains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Kernels {
    /// Dom0's, and that of the native run.
    pub(super) dom0: Kernel,
    /// The guests'.
    pub(super) guest: Kernel,
}

impl Kernels {
    /// The same in all domains.
    pub(super) fn all(kernel: &Kernel) -> Self {
        Self {
            dom0: kernel.clone(),
            guest: kernel.clone(),
        }
    }
}

/// Fit for the name of a file, too.
impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dom0.fmt(f)?;
        if self.guest != self.dom0 {
            write!(f, "-guests-{}", self.guest)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian(text: &str) -> Debian {
        Debian::parse(text).unwrap_or_else(|| panic!("{text} is a version"))
    }

    #[test]
    fn debian_s_kernels_are_named_by_version_and_flavour_or_by_release() {
        let parts = |text| {
            let Debian { version, flavour } = debian(text);
            (version, flavour)
        };
        assert_eq!(parts("6.12"), ("6.12".into(), Flavour::Generic));
        assert_eq!(parts("7.3-rt"), ("7.3".into(), Flavour::RealTime));
        assert_eq!(
            parts("6.12.43+deb13-cloud-amd64"),
            ("6.12.43+deb13".into(), Flavour::Cloud)
        );
        assert_eq!(
            parts("6.1.0-50-amd64"),
            ("6.1.0-50".into(), Flavour::Generic)
        );
        assert_eq!(debian("6.1.0-50-rt-amd64").to_string(), "6.1.0-50-rt");
        assert_eq!(debian("6.12-rt").release(), "6.12-rt-amd64");
    }

    #[test]
    fn what_is_no_version_is_a_folder() {
        for text in [
            "out",
            "./6.12",
            "linux-6.12",
            "6",
            "6.x",
            "6.12/",
            "",
            "-rt",
        ] {
            assert_eq!(Debian::parse(text), None, "{text}");
        }
        let error = "out-of-nowhere".parse::<Kernel>().unwrap_err();
        assert!(
            error.contains("6.12-rt") && error.contains("folder"),
            "{error}"
        );
    }

    #[test]
    fn folder_is_named_by_its_release() {
        let name = format!("xtask-kernel_{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(folder.join("boot")).unwrap();
        std::fs::create_dir_all(folder.join("lib/modules/7.3.0-rc1+")).unwrap();
        std::fs::write(folder.join("boot/vmlinuz-7.3.0-rc1+"), "").unwrap();
        let kernel: Kernel = folder.to_str().unwrap().parse().unwrap();
        assert_eq!(kernel.to_string(), "7.3.0-rc1+");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn kernels_of_dom0_and_guests_are_both_named_where_they_differ() {
        let [old, new] = ["6.1", "7.3"].map(|text| text.parse::<Kernel>().unwrap());
        assert_eq!(Kernels::all(&old).to_string(), "6.1");
        let differing = Kernels {
            dom0: old,
            guest: new,
        };
        assert_eq!(differing.to_string(), "6.1-guests-7.3");
        let json = serde_json::to_string(&differing).unwrap();
        assert_eq!(
            json,
            r#"{"dom0":{"Debian":"6.1"},"guest":{"Debian":"7.3"}}"#
        );
        assert_eq!(serde_json::from_str::<Kernels>(&json).unwrap(), differing);
    }
}
