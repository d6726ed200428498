//! What QEMU boots: hypervisor, kernel, initial file system, root image; and the disks' contents.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::files::{FILES, INIT};
use super::versions::{Kernel, Xen};
use super::{packages, place};
use crate::shell;

/// Modules that find and mount the root file system, in every kind of domain.
const EARLY_MODULES: [&str; 7] = [
    "virtio_pci",
    "virtio_blk",
    "xen_blkfront",
    "ext4",
    "overlay",
    "crc32c_generic",
    "crc32c_intel",
];

/// Folders of a kernel's modules that no lab needs.
const MODULES_LEFT_OUT: [&str; 14] = [
    "sound",
    "drivers/gpu",
    "drivers/media",
    "drivers/infiniband",
    "drivers/staging",
    "drivers/net/wireless",
    "drivers/net/ethernet/mellanox",
    "drivers/usb",
    "drivers/iio",
    "drivers/input",
    "drivers/isdn",
    "drivers/mtd",
    "drivers/bluetooth",
    "net/bluetooth",
];

/// How modules are compressed, by their file's ending, and what unpacks them: the initial file system's
/// loader cannot.
const PACKERS: [(&str, &str); 3] = [(".xz", "xz"), (".gz", "gzip"), (".zst", "zstd")];

/// Bytes of each disk that a scenario reads: the paper's 128 KiB x 8000, and a little more.
pub(super) const DISK_BYTES: u64 = 1 << 30;

/// A booting lab's files.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) folder: PathBuf,
}

impl Image {
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("root.img")
    }

    pub(super) fn xen(&self) -> PathBuf {
        self.folder.join("xen")
    }

    pub(super) fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    pub(super) fn initrd(&self) -> PathBuf {
        self.folder.join("initrd.gz")
    }
}

/// The image of these versions, made if its parts have changed.
pub(super) fn image(xen: Xen, kernel: &Kernel) -> Result<Image> {
    let cache = place::cache()?;
    let _lock = place::lock(&cache.join("lock"))?;
    let root = packages::root(xen)?;
    let kernel_files = packages::kernel(kernel)?;
    let state = kernel_files.build()?;
    let mut parts = vec![root.to_str().unwrap_or_default(), state.as_str(), INIT];
    parts.extend(FILES.iter().flat_map(|file| [file.path, file.text]));
    parts.extend(MODULES_LEFT_OUT);
    parts.extend(EARLY_MODULES);
    let name = format!("image-{xen}-{kernel}-");
    let folder = cache.join(format!("{name}{}", packages::key(&parts)));
    if !folder.is_dir() {
        place::require_space(&cache, 2 << 30)?;
        eprintln!("lab: making the image of Xen {xen} and Linux {kernel}");
        packages::build_whole(&folder, |partial| build(partial, &root, &kernel_files, xen))?;
        remove_older(&cache, &name, &folder);
    }
    Ok(Image { folder })
}

/// Images of the same versions with other contents; a running lab keeps its open files.
fn remove_older(cache: &Path, name: &str, newest: &Path) {
    let Ok(entries) = cache.read_dir() else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(name) && entry.path() != newest {
            // Only space in the cache.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn build(folder: &Path, root: &Path, kernel: &packages::KernelFiles, xen: Xen) -> Result<()> {
    place::create(folder)?;
    let stage = folder.join("stage");
    // Hard links: files are replaced in the stage, never changed in place.
    shell::output(shell::command("cp").arg("-al").arg(root).arg(&stage))?;
    let modules = add_modules(&stage, kernel)?;
    fs::copy(kernel.image(), folder.join("vmlinuz"))
        .context("the kernel's image could not be copied")?;
    // QEMU's multiboot loader does not unpack.
    let unpack = "gzip -dc \"$1\" > \"$2\"";
    shell::output(
        shell::command("sh")
            .args(["-ec", unpack, "unpack"])
            .arg(hypervisor(root, xen)?)
            .arg(folder.join("xen")),
    )?;
    build_initrd(folder, &stage, &modules)?;
    for file in &FILES {
        install(&stage.join(file.path), file.text.as_bytes())?;
    }
    let boot = stage.join("lab/guest");
    place::create(&boot)?;
    for name in ["vmlinuz", "initrd.gz"] {
        fs::copy(folder.join(name), boot.join(name))
            .with_context(|| format!("{name} could not be copied for the guests"))?;
    }
    for mountpoint in ["share", "new"] {
        place::create(&stage.join(mountpoint))?;
    }
    make_ext4(&stage, &folder.join("root.img"))?;
    fs::remove_dir_all(&stage).context("the stage of the image could not be removed")
}

/// Writes a program in place of what may be a hard link.
fn install(file: &Path, text: &[u8]) -> Result<()> {
    if let Some(folder) = file.parent() {
        place::create(folder)?;
    }
    // It need not exist.
    let _ = fs::remove_file(file);
    place::write(file, text)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("{} could not be made a program", file.display()))
}

fn hypervisor(root: &Path, xen: Xen) -> Result<PathBuf> {
    let file = root
        .join("boot")
        .join(format!("xen-{}-amd64.gz", xen.version()));
    if !file.is_file() {
        bail!("{} has no hypervisor", root.display());
    }
    Ok(file)
}

/// Puts the kernel's modules in the stage; returns their folder.
fn add_modules(stage: &Path, kernel: &packages::KernelFiles) -> Result<PathBuf> {
    let source = kernel.modules()?;
    // `lib` is a link to `usr/lib` in the root file system.
    let target = stage.join("usr").join(kernel.below());
    place::create(&stage.join("usr/lib/modules"))?;
    // A user's build stays as it is, and may be on another file system: no hard links.
    shell::output(shell::command("cp").arg("-a").arg(source).arg(&target))?;
    for folder in MODULES_LEFT_OUT {
        // A kernel need not have it.
        let _ = fs::remove_dir_all(target.join("kernel").join(folder));
    }
    for link in ["build", "source"] {
        let _ = fs::remove_file(target.join(link));
    }
    depmod(&stage.join("usr"), &kernel.release)?;
    Ok(target)
}

fn depmod(base: &Path, release: &str) -> Result<()> {
    shell::output(shell::command("depmod").arg("-b").arg(base).arg(release)).map(drop)
}

/// A module's name as the kernel has it, from its file.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split(".ko").next().unwrap_or(file);
    name.replace('-', "_")
}

/// The files of these modules and of all that they depend on, from `modules.dep`. A module that is
/// built in, or unknown to this kernel, has none.
fn with_dependencies(modules_dep: &str, names: &[&str]) -> BTreeSet<String> {
    let lines: BTreeMap<String, (&str, &str)> = modules_dep
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (module_name(file), (file, needs)))
        .collect();
    let mut files = BTreeSet::new();
    for name in names {
        if let Some((file, needs)) = lines.get(*name) {
            files.insert((*file).to_owned());
            files.extend(needs.split_whitespace().map(str::to_owned));
        }
    }
    files
}

fn build_initrd(folder: &Path, stage: &Path, modules: &Path) -> Result<()> {
    let initial = folder.join("initial");
    install(&initial.join("init"), INIT.as_bytes())?;
    place::create(&initial.join("bin"))?;
    fs::copy(stage.join("usr/bin/busybox"), initial.join("bin/busybox"))
        .context("the root file system has no busybox")?;
    symlink("busybox", initial.join("bin/sh")).context("the initial shell could not be linked")?;
    let release = modules.file_name().context("modules without a release")?;
    let target = initial.join("lib/modules").join(release);
    let dep = modules.join("modules.dep");
    let dep =
        fs::read_to_string(&dep).with_context(|| format!("{} could not be read", dep.display()))?;
    for file in with_dependencies(&dep, &EARLY_MODULES) {
        let copy = target.join(&file);
        if let Some(folder) = copy.parent() {
            place::create(folder)?;
        }
        fs::copy(modules.join(&file), &copy).with_context(|| format!("module {file}"))?;
        if let Some((_, packer)) = PACKERS.iter().find(|(ending, _)| file.ends_with(ending)) {
            shell::output(shell::command(packer).arg("-d").arg("-q").arg(&copy))?;
        }
    }
    for list in [
        "modules.order",
        "modules.builtin",
        "modules.builtin.modinfo",
    ] {
        fs::copy(modules.join(list), target.join(list)).with_context(|| list.to_owned())?;
    }
    depmod(&initial, &release.to_string_lossy())?;
    let pack = "cd \"$1\" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -6 > \"$2\"";
    shell::output(
        shell::command("sh")
            .args(["-ec", pack, "pack"])
            .arg(&initial)
            .arg(folder.join("initrd.gz")),
    )?;
    fs::remove_dir_all(&initial).context("the initial file system's folder stays behind")
}

fn make_ext4(folder: &Path, image: &Path) -> Result<()> {
    let used = shell::output(shell::command("du").args(["-sm"]).arg(folder))?;
    let used: u64 = used
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .context("du printed no size")?;
    let mut mke2fs = shell::command("mke2fs");
    mke2fs
        .args(["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"])
        .arg(folder)
        .arg(image)
        .arg(format!("{}M", used + used / 8 + 64));
    shell::output(&mut mke2fs)
        .map(drop)
        .with_context(|| format!("{} could not be made", image.display()))
}

/// The contents of a disk: each block of 512 bytes tells the disk and its own place, so that a block
/// read from the wrong place shows in any checksum.
pub(super) fn disk(number: u64) -> Result<PathBuf> {
    let cache = place::cache()?;
    let _lock = place::lock(&cache.join("lock"))?;
    let file = cache.join(format!("disk{number}-{}.img", DISK_BYTES >> 20));
    if file.is_file() {
        return Ok(file);
    }
    place::require_space(&cache, DISK_BYTES + (256 << 20))?;
    eprintln!("lab: filling disk {number} ({} MiB)", DISK_BYTES >> 20);
    let partial = file.with_extension("partial");
    write_disk(&partial, number).with_context(|| {
        // Half a disk is of no use.
        let _ = fs::remove_file(&partial);
        format!("{} could not be written", partial.display())
    })?;
    fs::rename(&partial, &file)
        .with_context(|| format!("{} could not be created", file.display()))?;
    Ok(file)
}

fn write_disk(file: &Path, number: u64) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
    // Marsaglia's xorshift64 (Journal of Statistical Software, 2003): cheap, and does not compress.
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ number;
    for sector in 0..DISK_BYTES / 512 {
        let mut block = [0u8; 512];
        block[..8].copy_from_slice(&number.to_le_bytes());
        block[8..16].copy_from_slice(&sector.to_le_bytes());
        for word in block[16..].chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        out.write_all(&block)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko\n\
        kernel/fs/jbd2/jbd2.ko:\nkernel/drivers/block/xen-blkfront.ko.xz:\n";

    #[test]
    fn modules_come_with_what_they_need() {
        let files = with_dependencies(DEP, &["ext4", "xen_blkfront", "built_in"]);
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        assert_eq!(
            files,
            [
                "kernel/drivers/block/xen-blkfront.ko.xz",
                "kernel/fs/ext4/ext4.ko",
                "kernel/fs/jbd2/jbd2.ko",
                "kernel/fs/mbcache.ko"
            ]
        );
    }
}
