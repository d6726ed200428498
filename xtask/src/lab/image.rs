//! What QEMU boots: hypervisor, kernel, initial file system, root image.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::files::{FILES, INIT};
use super::kernel::Kernels;
use super::layout::KernelFiles;
use super::versions::Xen;
use super::{packages, place};
use crate::{lock, shell};

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

/// A kernel and its initial file system, for Dom0 beside the image and for the guests in it.
const KERNEL: &str = "vmlinuz";
const INITRD: &str = "initrd.gz";

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
        self.folder.join(KERNEL)
    }

    pub(super) fn initrd(&self) -> PathBuf {
        self.folder.join(INITRD)
    }
}

/// What goes into an image.
struct Parts {
    root: PathBuf,
    xen: Xen,
    dom0: KernelFiles,
    /// The guests' kernel, where it is another one.
    guest: Option<KernelFiles>,
}

impl Parts {
    fn of(xen: Xen, kernels: &Kernels) -> Result<Self> {
        let root = packages::root(xen)?;
        let dom0 = packages::kernel(&kernels.dom0)?;
        let guest = packages::kernel(&kernels.guest)?;
        // One kernel can have several names.
        let is_other = guest.build()? != dom0.build()?;
        Ok(Self {
            root,
            xen,
            dom0,
            guest: is_other.then_some(guest),
        })
    }

    /// What tells an image with these contents from others.
    fn key(&self) -> Result<String> {
        let mut builds = vec![self.dom0.build()?];
        builds.extend(self.guest.as_ref().map(KernelFiles::build).transpose()?);
        let mut parts = vec![self.root.to_str().unwrap_or_default()];
        parts.extend(builds.iter().map(String::as_str));
        parts.push(INIT);
        parts.extend(FILES.iter().flat_map(|file| [file.path, file.text]));
        parts.extend(MODULES_LEFT_OUT);
        parts.extend(EARLY_MODULES);
        Ok(packages::key(&parts))
    }
}

/// The image of these versions, made if its parts have changed.
pub(super) fn image(xen: Xen, kernels: &Kernels) -> Result<Image> {
    let cache = place::cache()?;
    let _lock = lock::take(&cache.join("lock"))?;
    let parts = Parts::of(xen, kernels)?;
    // Two builds can have the same release, and two versions the same beginning.
    let versions = packages::key(&[xen.version(), &format!("{kernels:?}")]);
    let name = format!("image-{xen}-{kernels}-{versions}-");
    let folder = cache.join(format!("{name}{}", parts.key()?));
    if !folder.is_dir() {
        place::require_space(&cache, 2 << 30)?;
        eprintln!("lab: making the image of Xen {xen} and Linux {kernels}");
        packages::build_whole(&folder, |partial| build(partial, &parts))?;
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

fn build(folder: &Path, parts: &Parts) -> Result<()> {
    place::create(folder)?;
    let stage = folder.join("stage");
    // Hard links: files are replaced in the stage, never changed in place.
    shell::output(shell::command("cp").arg("-al").arg(&parts.root).arg(&stage))?;
    add_kernel(&stage, &parts.dom0, folder)?;
    let boot = stage.join("lab/guest");
    place::create(&boot)?;
    match &parts.guest {
        Some(kernel) => add_kernel(&stage, kernel, &boot)?,
        None => {
            for name in [KERNEL, INITRD] {
                fs::copy(folder.join(name), boot.join(name))
                    .with_context(|| format!("{name} could not be copied for the guests"))?;
            }
        }
    }
    // QEMU's multiboot loader does not unpack.
    let unpack = "gzip -dc \"$1\" > \"$2\"";
    shell::output(
        shell::command("sh")
            .args(["-ec", unpack, "unpack"])
            .arg(hypervisor(&parts.root, parts.xen)?)
            .arg(folder.join("xen")),
    )?;
    for file in &FILES {
        install(&stage.join(file.path), file.text.as_bytes())?;
    }
    for mountpoint in ["share", "new"] {
        place::create(&stage.join(mountpoint))?;
    }
    make_ext4(&stage, &folder.join("root.img"))?;
    fs::remove_dir_all(&stage).context("the stage of the image could not be removed")
}

/// Puts a kernel's modules into the stage, and its image and initial file system into `boot`.
fn add_kernel(stage: &Path, kernel: &KernelFiles, boot: &Path) -> Result<()> {
    let modules = add_modules(stage, kernel)?;
    fs::copy(&kernel.image, boot.join(KERNEL)).context("the kernel's image could not be copied")?;
    build_initrd(boot, stage, &modules)
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

/// Puts the kernel's modules in the stage, without those of no use; returns their folder.
fn add_modules(stage: &Path, kernel: &KernelFiles) -> Result<PathBuf> {
    // `lib` is a link to `usr/lib` in the root file system.
    let target = kernel.install_modules(stage)?;
    for folder in MODULES_LEFT_OUT {
        // A kernel need not have it.
        let _ = fs::remove_dir_all(target.join("kernel").join(folder));
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

/// Makes the initial file system of the kernel with these modules in a folder.
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
            .arg(folder.join(INITRD)),
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
