//! The disks that are followed.

use tracer_common::settings::MAX_DEVICES;

use crate::core::settings::setting;

/// The place of a device in the table of followed devices; 0 for every one if none is named.
#[inline(always)]
pub fn device_index(dev: u32) -> Option<u32> {
    let devices = setting!(device_count);
    if devices == 0 {
        return Some(0);
    }
    for index in 0..MAX_DEVICES {
        let candidate = setting!(devices[index]);
        if index as u64 >= devices {
            return None;
        }
        if candidate == dev {
            return Some(index as u32);
        }
    }
    None
}
