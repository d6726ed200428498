//! Which Xen the lab can have, and from what packages: a new one is one more row.
use std::fmt;

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
