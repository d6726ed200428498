//! The disks that are followed.

use tracer_common::settings::MAX_DEVICES;

use crate::core::kernel::Setting;

/// `dev_t`s to follow, and how many there are; none: all.
#[unsafe(no_mangle)]
static DEVICES: [u32; MAX_DEVICES] = [0; MAX_DEVICES];
#[unsafe(no_mangle)]
static DEVICE_COUNT: Setting = Setting::new(0);
/// The place of a device in the table of followed devices; 0 for every one if none is named.
#[inline(always)]
pub fn device_index(dev: u32) -> Option<u32> {
    let devices = DEVICE_COUNT.get();
    if devices == 0 {
        return Some(0);
    }
    for index in 0..MAX_DEVICES {
        // SAFETY: within the array; volatile, because the loader replaces it in the object.
        let candidate =
            unsafe { core::ptr::read_volatile((&raw const DEVICES).cast::<u32>().add(index)) };
        if index as u64 >= devices {
            return None;
        }
        if candidate == dev {
            return Some(index as u32);
        }
    }
    None
}
