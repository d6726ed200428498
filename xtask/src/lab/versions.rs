//! Which Xen and which kernel the lab can have, and from what packages: a new one is one more row.
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A version of Xen, with the Debian release that has its tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Xen {
    /// Debian 12's
    #[value(name = "4.17")]
    V4_17,
    /// Debian 13's
    #[value(name = "4.20")]
    V4_20,
}

impl Xen {
    /// The number as people say it.
    pub(super) const fn version(self) -> &'static str {
        match self {
            Self::V4_17 => "4.17",
            Self::V4_20 => "4.20",
        }
    }

    /// The Debian release of the lab's root file system.
    pub(super) const fn suite(self) -> &'static str {
        match self {
            Self::V4_17 => "bookworm",
            Self::V4_20 => "trixie",
        }
    }

    /// The package with the hypervisor.
    pub(super) fn hypervisor_package(self) -> String {
        format!("xen-hypervisor-{}-amd64", self.version())
    }

    /// The package with Dom0's tools.
    pub(super) fn tools_package(self) -> String {
        format!("xen-utils-{}", self.version())
    }
}

impl fmt::Display for Xen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version())
    }
}

/// Linux of Dom0, the guests and the native run alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kernel {
    /// Of a release of Debian.
    Debian(Debian),
    /// A folder with a build: `boot/vmlinuz-RELEASE` and `lib/modules/RELEASE`.
    Own(PathBuf),
}

/// A release of Debian, for its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Debian {
    /// Debian 12's
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's
    #[value(name = "6.12")]
    V6_12,
}

impl Debian {
    /// The number as people say it.
    const fn version(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    /// The release that has it.
    pub(super) const fn suite(self) -> &'static str {
        match self {
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
        }
    }
}

impl fmt::Display for Debian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version())
    }
}

/// As the command line has it.
impl FromStr for Kernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(debian) = Debian::from_str(text, false) {
            return Ok(Self::Debian(debian));
        }
        let folder = Path::new(text);
        if !folder.join("boot").is_dir() || !folder.join("lib/modules").is_dir() {
            return Err(
                "neither 6.1, 6.12, nor a folder with boot/vmlinuz-RELEASE and lib/modules/RELEASE \
                 (make install INSTALL_PATH=FOLDER/boot; make modules_install INSTALL_MOD_PATH=FOLDER)"
                    .into(),
            );
        }
        let folder = folder.canonicalize().map_err(|error| error.to_string())?;
        Ok(Self::Own(folder))
    }
}

/// Fit for the name of a lab or a file.
impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian(debian) => debian.fmt(f),
            Self::Own(folder) => {
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                f.write_str(&name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
            }
        }
    }
}

/// What every root file system holds besides Xen's tools: what boots it, what people hold the tracer's
/// numbers against, what the planted delays need, and a way to agents over ssh.
pub(super) const PACKAGES: [&str; 35] = [
    "bash",
    "bpftool",
    "bpftrace",
    "blktrace",
    "bridge-utils",
    "busybox-static",
    "dmsetup",
    "e2fsprogs",
    "ethtool",
    "fio",
    "hostname",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "kmod",
    "lvm2",
    "mount",
    "netcat-openbsd",
    "openssh-client",
    "openssh-server",
    "pciutils",
    "procps",
    "qemu-system-xen",
    "strace",
    "stress-ng",
    "sysvinit-utils",
    "tcpdump",
    "udev",
    "util-linux",
    "xenstore-utils",
    "xz-utils",
    "zstd",
    "coreutils",
    "findutils",
    "gawk",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_is_a_version_or_a_folder_with_a_build() {
        assert_eq!("6.12".parse(), Ok(Kernel::Debian(Debian::V6_12)));
        let error = "6.13".parse::<Kernel>().unwrap_err();
        assert!(error.contains("boot/vmlinuz-RELEASE"), "{error}");
        let folder = std::env::temp_dir().join(format!("xtask-kernel_{}", std::process::id()));
        std::fs::create_dir_all(folder.join("boot")).unwrap();
        std::fs::create_dir_all(folder.join("lib/modules")).unwrap();
        let kernel: Kernel = folder.to_str().unwrap().parse().unwrap();
        assert_eq!(
            kernel.to_string(),
            format!("xtask-kernel-{}", std::process::id())
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
