//! A loop device that the kernel removes with its holder (include/uapi/linux/loop.h).

use std::{
    fs::{File, OpenOptions},
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
const LO_NAME_SIZE: usize = 64;
const LO_KEY_SIZE: usize = 32;
/// Tries to win a free device against other programs.
const TRIES: u32 = 16;

nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);
nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, LoopConfig);

/// `struct loop_info64`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; LO_NAME_SIZE],
    crypt_name: [u8; LO_NAME_SIZE],
    encrypt_key: [u8; LO_KEY_SIZE],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// A loop device; gone when dropped.
#[derive(Debug)]
pub(super) struct LoopDevice {
    path: PathBuf,
    holder: File,
}

impl LoopDevice {
    /// Puts a loop device over a file; with direct I/O where the file system has it, so that the
    /// page cache below does not answer in the disk's place.
    pub(super) fn attach(file: &File) -> anyhow::Result<Self> {
        if let Ok(device) = Self::attach_with(file, LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO)
            && device.can_be_read()
        {
            return Ok(device);
        }
        Self::attach_with(file, LO_FLAGS_AUTOCLEAR)
    }

    /// An overlay promises direct I/O, and fails each read where the file system below it has none.
    fn can_be_read(&self) -> bool {
        self.holder.read_at(&mut [0], 0).is_ok()
    }

    fn attach_with(file: &File, flags: u32) -> anyhow::Result<Self> {
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/loop-control")
            .context("cannot open /dev/loop-control; run as root, with the module loop loaded")?;
        for _ in 0..TRIES {
            // SAFETY: the request takes no argument.
            let number = unsafe { loop_ctl_get_free(control.as_raw_fd()) }
                .context("there is no free loop device")?;
            let path = Path::new("/dev").join(format!("loop{number}"));
            let holder = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            let config = configuration(file, flags)?;
            // SAFETY: the configuration is of the kernel's layout and lives through the call.
            match unsafe { loop_configure(holder.as_raw_fd(), &raw const config) } {
                Ok(_) => {
                    return Ok(Self { path, holder });
                }
                // Another program was faster.
                Err(nix::errno::Errno::EBUSY) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot set up {}", path.display()));
                }
            }
        }
        bail!("other programs took every free loop device");
    }

    /// Its device node.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn configuration(file: &File, flags: u32) -> anyhow::Result<LoopConfig> {
    Ok(LoopConfig {
        fd: u32::try_from(file.as_raw_fd())?,
        block_size: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            sizelimit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name: [0; LO_NAME_SIZE],
            crypt_name: [0; LO_NAME_SIZE],
            encrypt_key: [0; LO_KEY_SIZE],
            init: [0; 2],
        },
        reserved: [0; 8],
    })
}

const _: () = assert!(size_of::<LoopInfo>() == 232);
const _: () = assert!(size_of::<LoopConfig>() == 304);
