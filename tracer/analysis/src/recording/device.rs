//! Block devices as a recording names them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A block device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct BlockDevice {
    /// Its name, as in `/proc/partitions`.
    pub name: String,
    /// The kernel's internal `dev_t`: major << 20 | minor.
    pub dev: u32,
    /// Whether it takes bios without making requests of them (device mapper, md, zram).
    pub bio_based: bool,
    /// The number of the virtual disk that it is, or is a part of, in a guest.
    #[serde(default)]
    pub vbd: Option<u32>,
}
