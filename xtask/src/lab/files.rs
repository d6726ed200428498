//! What the lab puts into every root file system; a change of any rebuilds the images.

/// A file, and whether it is a program.
pub(super) struct Embedded {
    /// Its path in the root file system.
    pub(super) path: &'static str,
    pub(super) text: &'static str,
}

/// The first program of the initial file system.
pub(super) const INIT: &str = include_str!("../../lab/initramfs");

/// The programs and scripts of the domains.
pub(super) const FILES: [Embedded; 15] = [
    Embedded {
        path: "lab/boot",
        text: include_str!("../../lab/boot"),
    },
    Embedded {
        path: "lab/functions.sh",
        text: include_str!("../../lab/functions.sh"),
    },
    Embedded {
        path: "lab/dom0.sh",
        text: include_str!("../../lab/dom0.sh"),
    },
    Embedded {
        path: "lab/guest.sh",
        text: include_str!("../../lab/guest.sh"),
    },
    Embedded {
        path: "lab/native.sh",
        text: include_str!("../../lab/native.sh"),
    },
    Embedded {
        path: "lab/serve-jobs",
        text: include_str!("../../lab/serve-jobs"),
    },
    Embedded {
        path: "lab/guest-relay",
        text: include_str!("../../lab/guest-relay"),
    },
    Embedded {
        path: "lab/guest-jobs",
        text: include_str!("../../lab/guest-jobs"),
    },
    Embedded {
        path: "lab/guest-agent",
        text: include_str!("../../lab/guest-agent"),
    },
    Embedded {
        path: "lab/create-guest",
        text: include_str!("../../lab/create-guest"),
    },
    Embedded {
        path: "lab/offer-tracer",
        text: include_str!("../../lab/offer-tracer"),
    },
    Embedded {
        path: "lab/hotplug-block",
        text: include_str!("../../lab/hotplug-block"),
    },
    Embedded {
        path: "lab/hotplug-vif",
        text: include_str!("../../lab/hotplug-vif"),
    },
    Embedded {
        path: "usr/local/bin/channel",
        text: include_str!("../../lab/channel"),
    },
    Embedded {
        path: "usr/sbin/poweroff",
        text: include_str!("../../lab/poweroff"),
    },
];
