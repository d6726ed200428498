//! Debian's packages: the root file system of one release, and kernels.
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use super::place;
use super::versions::{Debian, Kernel, PACKAGES, Xen};
use crate::setup::{apt, private_apt::PrivateApt};
use crate::shell;

/// What mmdebstrap leaves out: nobody reads it in a lab.
const LEFT_OUT: [&str; 4] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
];

/// Debian's archive, from the machine's own mirror where it has one.
fn archive() -> Result<apt::Archive> {
    let machine = apt::Release::of_machine()?;
    if machine.id == "debian" {
        return apt::main_archive(Path::new("/etc/apt"), &machine.codename);
    }
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    if !Path::new(keyring).exists() {
        bail!("{keyring} is missing: install the package debian-archive-keyring");
    }
    Ok(apt::Archive {
        uri: "http://deb.debian.org/debian".into(),
        suites: Vec::new(),
        components: vec!["main".into()],
        signed_by: Some(format!(" {keyring}")),
    })
}

/// A short name for what went into something.
pub(super) fn key(parts: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{:012x}", hasher.finish() & 0xFFFF_FFFF_FFFF)
}

/// Replaces `folder` by what `build` makes, which never is seen half-made.
pub(super) fn build_whole(folder: &Path, build: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // Not `with_extension`: versions have dots.
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let partial = folder.with_file_name(format!("{name}.partial"));
    for old in [&partial, &folder.to_owned()] {
        if old.exists() {
            fs::remove_dir_all(old)
                .with_context(|| format!("{} could not be removed", old.display()))?;
        }
    }
    build(&partial).inspect_err(|_| {
        // The failure itself is the news; what is left is removed by the next attempt at the latest.
        let _ = fs::remove_dir_all(&partial);
    })?;
    fs::rename(&partial, folder)
        .with_context(|| format!("{} could not be created", folder.display()))
}

/// A command that ends with this process, with all that it started and mounted: half a root file system
/// is removed by the next attempt, which must not meet a mount or a writer in it.
fn contained(program: &str) -> Command {
    let mut command = shell::command("unshare");
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
    ]);
    command.arg("--").arg(program);
    // SAFETY: prctl takes plain numbers, and is async-signal-safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command
}

/// The root file system of the release that has this Xen, as a folder.
pub(super) fn root(xen: Xen) -> Result<PathBuf> {
    let mut packages: Vec<String> = PACKAGES.map(str::to_owned).into();
    packages.extend([xen.tools_package(), xen.hypervisor_package()]);
    let packages = packages.join(",");
    let key = key(&[xen.suite(), &packages, &LEFT_OUT.join(",")]);
    let folder = place::cache()?.join(format!("root-{}-{key}", xen.suite()));
    if folder.is_dir() {
        return Ok(folder);
    }
    place::require_space(&place::cache()?, 3 << 30)?;
    eprintln!(
        "lab: making Debian {}'s root file system with Xen {xen} (about 160 MiB to download)",
        xen.suite()
    );
    let sources = archive()?.for_suite(xen.suite());
    build_whole(&folder, |partial| {
        let list = partial.with_extension("sources");
        place::write(&list, &sources)?;
        let mut mmdebstrap = contained("mmdebstrap");
        mmdebstrap
            .args(["--quiet", "--mode=root", "--variant=apt"])
            .args(["--architectures=amd64", "--format=directory"])
            .arg(format!("--include={packages}"))
            .arg("--aptopt=APT::Install-Recommends \"false\"");
        for path in LEFT_OUT {
            mmdebstrap.arg(format!("--dpkgopt=path-exclude={path}"));
        }
        mmdebstrap.arg(xen.suite()).arg(partial).arg(&list);
        let made = shell::output(&mut mmdebstrap);
        // Only a list of sources.
        let _ = fs::remove_file(&list);
        made.map(drop)
    })?;
    Ok(folder)
}

/// A kernel's files: a package, unpacked, or the user's build.
pub(super) struct KernelFiles {
    /// `boot/`, `lib/modules/`.
    pub(super) folder: PathBuf,
    /// What `uname -r` will say.
    pub(super) release: String,
}

impl KernelFiles {
    pub(super) fn image(&self) -> PathBuf {
        let name = format!("vmlinuz-{}", self.release);
        self.folder.join("boot").join(name)
    }

    /// Where its modules are in a root file system: `lib/modules/RELEASE`.
    pub(super) fn below(&self) -> PathBuf {
        Path::new("lib/modules").join(&self.release)
    }

    /// The folder of its modules.
    pub(super) fn modules(&self) -> Result<PathBuf> {
        let below = self.below();
        let candidates = [
            self.folder.join(&below),
            self.folder.join("usr").join(&below),
        ];
        let found = candidates.into_iter().find(|folder| folder.is_dir());
        found.with_context(|| format!("{} has no {}", self.folder.display(), below.display()))
    }

    /// What tells one build of a release from the next: image and modules can be installed one without the other.
    pub(super) fn build(&self) -> Result<String> {
        let folder = self.folder.display();
        Ok(format!("{folder} {}", self.release_and_times()?))
    }

    /// The same wherever the files are.
    pub(super) fn release_and_times(&self) -> Result<String> {
        let made = |file: PathBuf| {
            let made = file.metadata().and_then(|facts| facts.modified());
            let made = made.with_context(|| format!("{} could not be read", file.display()))?;
            let since_1970 = made.duration_since(SystemTime::UNIX_EPOCH)?;
            anyhow::Ok(since_1970.as_nanos())
        };
        let (image, modules) = (self.image(), self.modules()?.join("modules.order"));
        Ok(format!(
            "{} {} {}",
            self.release,
            made(image)?,
            made(modules)?
        ))
    }
}

/// The kernel's image and modules; Debian's are downloaded once.
pub(super) fn kernel(kernel: &Kernel) -> Result<KernelFiles> {
    let folder = match kernel {
        Kernel::Debian(debian) => unpacked(*debian)?,
        Kernel::Own(folder) => folder.clone(),
    };
    let release = kernel_release(&folder)?;
    Ok(KernelFiles { folder, release })
}

/// The folder with a kernel of Debian's.
fn unpacked(kernel: Debian) -> Result<PathBuf> {
    let folder = place::cache()?.join(format!("kernel-{kernel}"));
    if !folder.is_dir() {
        place::require_space(&place::cache()?, 1 << 30)?;
        eprintln!("lab: downloading Debian's Linux {kernel} (about 100 MiB)");
        let work = place::cache()?.join(format!("apt-{}", std::process::id()));
        let unpacked = build_whole(&folder, |partial| download_kernel(kernel, &work, partial));
        // Left-overs of a download are only space in the cache.
        let _ = fs::remove_dir_all(&work);
        unpacked?;
    }
    Ok(folder)
}

/// The release of the one kernel in a folder.
fn kernel_release(folder: &Path) -> Result<String> {
    let entries = folder
        .join("boot")
        .read_dir()
        .with_context(|| format!("{} has no boot folder", folder.display()))?;
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let releases: Vec<String> = names
        // An older build that `make install` keeps.
        .filter(|name| !name.ends_with(".old"))
        .filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned))
        .collect();
    match &releases[..] {
        [release] => Ok(release.clone()),
        [] => bail!("{} has no boot/vmlinuz-RELEASE", folder.display()),
        several => bail!(
            "{} has several kernels ({}): leave one",
            folder.display(),
            several.join(", ")
        ),
    }
}

fn download_kernel(kernel: Debian, work: &Path, folder: &Path) -> Result<()> {
    let apt = PrivateApt::create(work, &archive()?.for_suite(kernel.suite()))?;
    apt.update()?;
    let package = "linux-image-amd64";
    let text =
        shell::output(
            apt.command("apt-cache")
                .args(["show", "--no-all-versions", package]),
        )?;
    // The package only depends on that of the newest kernel.
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("Depends: "))
        .and_then(|depends| depends.split([' ', ',']).next())
        .with_context(|| format!("{package} of {} names no kernel", kernel.suite()))?;
    let deb = apt.download(name)?;
    shell::output(shell::command("dpkg-deb").arg("-x").arg(deb).arg(folder)).map(drop)
}
