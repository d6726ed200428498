//! The library sources for a toolchain that lacks them: from rustup, else from the distribution.
//!
//! The sources must be of exactly the compiler's version. The distribution's package is downloaded
//! and unpacked into the cache; nothing is installed, and the machine's apt stays as it is.
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::apt::{self, Release};
use super::compiler::Compiler;
use super::private_apt::PrivateApt;
use crate::shell;

/// An offline rustup retries for long; the distribution's package is the next way.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// Gives one of the compilers its sources and says which.
pub(crate) fn provide(compilers: &[Compiler], cache: &Path) -> Result<Compiler> {
    for compiler in compilers {
        eprintln!(
            "rust-src: asking rustup for toolchain {}",
            compiler.toolchain
        );
        let mut rustup = shell::command("rustup");
        rustup.args([
            "component",
            "add",
            "rust-src",
            "--toolchain",
            &compiler.toolchain,
        ]);
        if shell::succeeds_within(&mut rustup, RUSTUP_LIMIT) && compiler.has_source() {
            return Ok(compiler.clone());
        }
        eprintln!("rust-src: rustup could not provide it");
    }
    let compiler = compilers
        .iter()
        .find(|compiler| !compiler.is_nightly())
        .context("rustup could not add rust-src: run `rustup component add rust-src`")?;
    let source = from_distribution(compiler, cache).with_context(|| {
        format!(
            "there is no rust-src for Rust {}: run `rustup component add rust-src --toolchain {}`",
            compiler.version.release, compiler.toolchain
        )
    })?;
    link(compiler, &source)?;
    Ok(compiler.clone())
}

/// The unpacked sources in the cache, downloaded when they are not there yet.
fn from_distribution(compiler: &Compiler, cache: &Path) -> Result<PathBuf> {
    let release = compiler.version.base();
    let folder = cache.join(format!("rust-src-{release}"));
    if let Some(source) = unpacked(&folder) {
        return Ok(source);
    }
    let work = cache.join(format!("apt-{}", std::process::id()));
    let package = download(&work, release);
    let unpacking = package.and_then(|package| unpack(&package, &folder));
    // Left-overs of a download are only space in the cache; the result matters more.
    let _ = fs::remove_dir_all(&work);
    unpacking?;
    unpacked(&folder).with_context(|| format!("{} has no usr/src/rustc-*", folder.display()))
}

/// The folder that holds `library/`, below an unpacked package.
fn unpacked(folder: &Path) -> Option<PathBuf> {
    let entries = folder.join("usr/src").read_dir().ok()?;
    let mut sources = entries.flatten().map(|entry| entry.path());
    sources.find(|path| path.join("library/core/Cargo.toml").is_file())
}

/// Downloads the package of the wanted version from the first suite that has it.
fn download(work: &Path, release: &str) -> Result<PathBuf> {
    if shell::find("apt-get").is_none() {
        bail!("this is not Debian or Ubuntu, whose packages would be the other way");
    }
    let machine = Release::of_machine()?;
    let archive = apt::main_archive(Path::new("/etc/apt"), &machine.codename)?;
    for suite in suites(&machine) {
        eprintln!("rust-src: looking for version {release} in the suite {suite}");
        let private = PrivateApt::create(work, &archive.for_suite(&suite))?;
        // A suite that the mirror lacks only means that the next one is asked.
        if private.update().is_err() {
            continue;
        }
        for name in ["rust-src".to_owned(), versioned_name(release)] {
            let listing = shell::output(private.command("apt-cache").args(["madison", &name]))
                .unwrap_or_default();
            if let Some(version) = matching_version(&listing, release) {
                eprintln!("rust-src: downloading {name} {version}");
                let wanted = [format!("{name}={version}")];
                return private
                    .download(&wanted, &work.join("package"))
                    .map(|mut files| files.remove(0));
            }
        }
    }
    bail!("no suite of the machine's mirror has rust-src {release}")
}

/// Suites that may hold a recent compiler, likely ones first.
fn suites(machine: &Release) -> Vec<String> {
    let codename = &machine.codename;
    let names: Vec<String> = if machine.id == "ubuntu" {
        let own = ["", "-updates", "-backports"].map(|pocket| format!("{codename}{pocket}"));
        own.into_iter()
            .chain(["devel".into(), "devel-proposed".into()])
            .collect()
    } else {
        ["-backports", "-backports-sloppy", ""]
            .map(|pocket| format!("{codename}{pocket}"))
            .into_iter()
            .chain(["stable-backports", "trixie-backports", "testing", "sid"].map(str::to_owned))
            .collect()
    };
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}

/// Ubuntu's name of one version's sources, such as `rust-1.95-src`.
fn versioned_name(release: &str) -> String {
    let minor = release.rsplit_once('.').map_or(release, |(minor, _)| minor);
    format!("rust-{minor}-src")
}

/// The package version of exactly this compiler, from `apt-cache madison`.
fn matching_version(listing: &str, release: &str) -> Option<String> {
    listing
        .lines()
        .filter_map(|line| line.split('|').nth(1).map(str::trim))
        .find(|version| {
            version
                .strip_prefix(release)
                .is_some_and(|rest| rest.starts_with(['+', '-', '~']))
        })
        .map(str::to_owned)
}

/// Unpacks beside the target first, so that an interrupted one is never taken for complete.
fn unpack(package: &Path, folder: &Path) -> Result<()> {
    let partial = folder.with_extension("partial");
    // A partial folder of an earlier, interrupted run may or may not exist.
    let _ = fs::remove_dir_all(&partial);
    shell::output(
        shell::command("dpkg-deb")
            .arg("-x")
            .arg(package)
            .arg(&partial),
    )?;
    // The old folder is incomplete, or it would have been used.
    let _ = fs::remove_dir_all(folder);
    fs::rename(&partial, folder)
        .with_context(|| format!("{} could not be created", folder.display()))
}

/// Links the sources into the toolchain.
fn link(compiler: &Compiler, source: &Path) -> Result<()> {
    let link = compiler.source_link();
    eprintln!(
        "rust-src: linking {} to {}",
        link.display(),
        source.display()
    );
    replace_link(source, &link).with_context(|| {
        format!(
            "the toolchain's folder is not writable; run: sudo ln -sfn {} {}",
            source.display(),
            link.display()
        )
    })
}

fn replace_link(source: &Path, link: &Path) -> Result<()> {
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent)?;
    }
    match link.symlink_metadata() {
        // rustup's own, incomplete component: not ours to delete.
        Ok(meta) if meta.is_dir() => bail!(
            "{} exists but is incomplete: run `rustup component remove rust-src`",
            link.display()
        ),
        Ok(_) => fs::remove_file(link)?,
        Err(_) => {}
    }
    symlink(source, link)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADISON: &str = "  rust-src | 1.95.0+dfsg1-2~bpo13+1 | mirror trixie-backports/main amd64\n  \
        rust-src | 1.95.01+dfsg1-1 | mirror x\n rust-src | 1.85.0+dfsg3-1 | mirror trixie/main\n";

    #[test]
    fn only_exactly_the_compiler_s_version_matches() {
        let version = matching_version(MADISON, "1.95.0");
        assert_eq!(version.as_deref(), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(matching_version(MADISON, "1.9"), None);
        assert_eq!(matching_version("", "1.95.0"), None);
    }

    #[test]
    fn ubuntu_names_the_sources_by_minor_version() {
        assert_eq!(versioned_name("1.95.0"), "rust-1.95-src");
    }

    #[test]
    fn own_suites_come_first_and_each_once() {
        let machine = Release {
            id: "debian".into(),
            codename: "trixie".into(),
        };
        let suites = suites(&machine);
        assert_eq!(suites[0], "trixie-backports");
        assert_eq!(
            suites
                .iter()
                .filter(|suite| *suite == "trixie-backports")
                .count(),
            1
        );
    }

    #[test]
    fn link_is_replaced_but_a_real_folder_is_kept() {
        let dir = std::env::temp_dir().join(format!("xtask-link-{}", std::process::id()));
        let link = dir.join("lib/rust");
        replace_link(Path::new("/one"), &link).unwrap();
        replace_link(Path::new("/two"), &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/two"));
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        assert!(replace_link(Path::new("/three"), &link).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
