//! What images are made of: the root file system of one release of Debian, and kernels.
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;
use super::layout::KernelFiles;
use super::versions::{PACKAGES, Xen};
use super::{debian, place};
use crate::setup::apt;
use crate::shell;

/// What mmdebstrap leaves out: nobody reads it in a lab.
const LEFT_OUT: [&str; 4] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
];

/// Debian's archive, from the machine's own mirror where it has one.
pub(super) fn archive() -> Result<apt::Archive> {
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

/// The kernel's image and modules; Debian's are downloaded once.
pub(super) fn kernel(kernel: &Kernel) -> Result<KernelFiles> {
    match kernel {
        Kernel::Debian(wanted) => KernelFiles::of(&debian::unpacked(wanted)?),
        Kernel::Own(build) => KernelFiles::of(&build.folder),
    }
}

/// The release of a kernel that was here when it was asked for.
pub(super) fn release(kernel: &Kernel) -> Option<String> {
    match kernel {
        Kernel::Debian(wanted) => {
            let files = KernelFiles::of(&debian::kept(wanted).ok()?);
            files.ok().map(|files| files.release)
        }
        Kernel::Own(build) => Some(build.release.clone()),
    }
}
