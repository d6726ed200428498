//! Debian's kernels: which suite has one, of which packages it is, and their files in the cache. What there is, the archive
//! is asked; it changes every week.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::kernel::Debian;
use super::{packages, place};
use crate::setup::apt::Archive;
use crate::setup::private_apt::PrivateApt;
use crate::shell;

/// Where kernels are looked for, in this order: releases, what is built for them, and what comes next.
const SUITES: [&str; 7] = [
    "bookworm",
    "trixie",
    "trixie-backports",
    "bookworm-backports",
    "forky",
    "sid",
    "experimental",
];

/// How packages of kernels are called, before their release.
const IMAGE: &str = "linux-image-";

/// Where a kernel's files are in the cache, once they are.
pub(super) fn kept(wanted: &Debian) -> Result<PathBuf> {
    Ok(place::cache()?.join(format!("kernel-{wanted}")))
}

/// The folder with a kernel's files. Once it is in the cache, nothing is asked any more.
pub(super) fn unpacked(wanted: &Debian) -> Result<PathBuf> {
    let link = kept(wanted)?;
    if !link.is_dir() {
        place::require_space(&place::cache()?, 1 << 30)?;
        let (suite, package) = find(wanted)?;
        // A release of a kernel that is not out yet can come in several versions.
        let name = format!("kernel-{}_{}", package.kernel.release(), package.version);
        let folder = link.with_file_name(&name);
        if !folder.is_dir() {
            packages::build_whole(&folder, |partial| suite.unpack(&package, partial))?;
        }
        // One whose folder was removed.
        let _ = fs::remove_file(&link);
        symlink(&name, &link).with_context(|| format!("{} could not be linked", link.display()))?;
    }
    link.canonicalize()
        .with_context(|| format!("{} could not be read", link.display()))
}

/// The newest kernel that fits, of the first suite that has one.
fn find(wanted: &Debian) -> Result<(Suite, Package)> {
    let archive = packages::archive()?;
    let mut there = Vec::new();
    for name in SUITES {
        eprintln!("lab: looking for Linux {wanted} in Debian's {name}");
        let suite = Suite::open(name, &archive)?;
        let all = suite.kernels()?;
        let fitting = all.iter().filter(|package| package.fits(wanted));
        if let Some(package) = newest(fitting)? {
            return Ok((suite, package.clone()));
        }
        there.extend(all.into_iter().map(|package| (name, package)));
    }
    bail!(
        "no suite of Debian has a Linux {wanted}; there are: {}",
        listed(wanted, &there)
    )
}

/// A kernel's package.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Package {
    /// By its release.
    kernel: Debian,
    /// The package's own.
    version: String,
}

impl Package {
    /// From its paragraph; none of those that only depend on a kernel.
    fn of(paragraph: &str) -> Option<Self> {
        let kernel = field(paragraph, "Package")?.strip_prefix(IMAGE)?;
        Some(Self {
            kernel: Debian::parse(kernel)?,
            version: field(paragraph, "Version")?.to_owned(),
        })
    }

    fn name(&self) -> String {
        format!("{IMAGE}{}", self.kernel.release())
    }

    /// Linux's version: the package's without Debian's revision of it.
    fn linux(&self) -> &str {
        let linux = self.version.rsplit_once('-');
        linux.map_or(&*self.version, |(linux, _)| linux)
    }

    /// Whether it is what was asked for: by its release, by Linux's version, or by the first part of that.
    fn fits(&self, wanted: &Debian) -> bool {
        let rest = self.linux().strip_prefix(&*wanted.version);
        let is_version = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '~']));
        self.kernel.flavour == wanted.flavour
            && (is_version || self.kernel.version == wanted.version)
    }

    /// The first two numbers of Linux's version.
    fn series(&self) -> Vec<u32> {
        let numbers = self.linux().split(['.', '~']);
        let numbers = numbers.map_while(|number| number.parse().ok());
        numbers.take(2).collect()
    }
}

/// The newest by Debian's own order of versions.
fn newest<'a>(packages: impl Iterator<Item = &'a Package>) -> Result<Option<&'a Package>> {
    let mut newest: Option<&Package> = None;
    for package in packages {
        let newer = match newest {
            None => true,
            Some(other) => shell::succeeds(
                shell::command("dpkg")
                    .args(["--compare-versions", &package.version, "gt"])
                    .arg(&other.version),
            ),
        };
        if newer {
            newest = Some(package);
        }
    }
    Ok(newest)
}

/// What there is of a flavour, in the order of versions, each with the first suite that has it.
fn listed(wanted: &Debian, there: &[(&str, Package)]) -> String {
    let mut first = BTreeMap::new();
    for (suite, package) in there {
        if package.kernel.flavour == wanted.flavour {
            first.entry(package.series()).or_insert(*suite);
        }
    }
    let each = first.iter().map(|(series, suite)| {
        let numbers: Vec<String> = series.iter().map(u32::to_string).collect();
        let name = Debian {
            version: numbers.join("."),
            flavour: wanted.flavour,
        };
        format!("{name} ({suite})")
    });
    each.collect::<Vec<_>>().join(", ")
}

/// A suite of the archive. Its lists stay in the cache, and apt fetches only those that have changed.
struct Suite {
    apt: PrivateApt,
    /// Where packages are until they are unpacked.
    downloads: PathBuf,
}

impl Suite {
    fn open(name: &str, archive: &Archive) -> Result<Self> {
        let folder = place::cache()?.join("apt").join(name);
        let apt = PrivateApt::create(&folder, &archive.for_suite(name))?;
        apt.update()
            .with_context(|| format!("Debian's {name} could not be asked for its kernels"))?;
        Ok(Self {
            apt,
            downloads: folder.join("downloads"),
        })
    }

    fn kernels(&self) -> Result<Vec<Package>> {
        let names = shell::output(self.apt.command("apt-cache").args(["pkgnames", IMAGE]))?;
        // Names of other packages, and of some that others only mention.
        let names = names.lines().filter(|name| {
            let kernel = name.strip_prefix(IMAGE).and_then(Debian::parse);
            kernel.is_some_and(|kernel| name.ends_with(&kernel.release()))
        });
        let text = shell::output(self.apt.command("apt-cache").arg("show").args(names))?;
        Ok(text.split("\n\n").filter_map(Package::of).collect())
    }

    /// Downloads and unpacks the packages of a kernel.
    fn unpack(&self, kernel: &Package, folder: &Path) -> Result<()> {
        let show =
            |package: &str| shell::output(self.apt.command("apt-cache").args(["show", package]));
        let wanted = of_one_build(&kernel.name(), &kernel.version, show)?;
        eprintln!(
            "lab: downloading Linux {} (about 120 MiB)",
            kernel.kernel.release()
        );
        let unpacked = self
            .apt
            .download(&wanted, &self.downloads)
            .and_then(|files| {
                files.iter().try_for_each(|file| {
                    let mut dpkg = shell::command("dpkg-deb");
                    shell::output(dpkg.arg("-x").arg(file).arg(folder)).map(drop)
                })
            });
        // Only space in the cache.
        let _ = fs::remove_dir_all(&self.downloads);
        unpacked
    }
}

/// The packages that a kernel is of, as `NAME=VERSION`: the first, and those of the very same version that it depends on.
/// Others, such as programs that make an initial file system, are no part of it.
fn of_one_build(
    first: &str,
    version: &str,
    show: impl Fn(&str) -> Result<String>,
) -> Result<Vec<String>> {
    let mut wanted = vec![format!("{first}={version}")];
    let mut asked = 0;
    while let Some(package) = wanted.get(asked) {
        let paragraph = show(package)?;
        let depends = field(&paragraph, "Depends").unwrap_or_default();
        for need in depends.split(',') {
            let same = format!(" (= {version})");
            if let Some(name) = need.trim().strip_suffix(&*same) {
                let package = format!("{name}={version}");
                if !wanted.contains(&package) {
                    wanted.push(package);
                }
            }
        }
        asked += 1;
    }
    Ok(wanted)
}

/// A field of a package's paragraph; lists of Debian's archive have each on one line.
fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = paragraph.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of trixie-backports, bookworm and experimental, without the fields that nobody reads.
    const LIST: &str = include_str!("../../tests/data/kernel-packages");

    fn packages() -> Vec<Package> {
        LIST.split("\n\n").filter_map(Package::of).collect()
    }

    fn wanted(text: &str) -> Debian {
        Debian::parse(text).unwrap()
    }

    /// The release of the newest that fits.
    fn chosen(text: &str) -> Option<String> {
        let packages = packages();
        let fitting = packages
            .iter()
            .filter(|package| package.fits(&wanted(text)));
        newest(fitting)
            .unwrap()
            .map(|package| package.kernel.release())
    }

    fn show(package: &str) -> Result<String> {
        let (name, version) = package.split_once('=').unwrap();
        let is = |paragraph: &&str| {
            field(paragraph, "Package") == Some(name)
                && field(paragraph, "Version") == Some(version)
        };
        let found = LIST.split("\n\n").find(is);
        found
            .map(str::to_owned)
            .with_context(|| format!("no {package}"))
    }

    #[test]
    fn newest_kernel_of_a_version_is_taken() {
        assert_eq!(chosen("6.1").unwrap(), "6.1.0-50-amd64");
        assert_eq!(chosen("6.1.170").unwrap(), "6.1.0-47-amd64");
        assert_eq!(chosen("6.1.0-47-amd64").unwrap(), "6.1.0-47-amd64");
        assert_eq!(chosen("7.3-rt").unwrap(), "7.3.4+deb13-rt-amd64");
        assert_eq!(chosen("7.3").unwrap(), "7.3.4+deb13-amd64");
        assert_eq!(chosen("7.3~rc7").unwrap(), "7.3-amd64");
        assert_eq!(chosen("6.12"), None, "6.1 is another version");
        assert_eq!(chosen("7.3-cloud"), None);
    }

    #[test]
    fn only_packages_of_the_kernel_s_own_build_are_followed() {
        let of = |name: &str, version: &str| of_one_build(name, version, show).unwrap();
        assert_eq!(
            of("linux-image-7.3.4+deb13-amd64", "7.3.4-1~bpo13+1"),
            [
                "linux-image-7.3.4+deb13-amd64=7.3.4-1~bpo13+1",
                "linux-base-7.3.4+deb13-amd64=7.3.4-1~bpo13+1",
                "linux-binary-7.3.4+deb13-amd64=7.3.4-1~bpo13+1",
                "linux-modules-7.3.4+deb13-amd64=7.3.4-1~bpo13+1",
            ]
        );
        assert_eq!(
            of("linux-image-6.1.0-50-amd64", "6.1.176-1"),
            ["linux-image-6.1.0-50-amd64=6.1.176-1"]
        );
    }

    #[test]
    fn what_there_is_is_listed_with_the_first_suite_that_has_it() {
        let mut there: Vec<_> = packages()
            .into_iter()
            .map(|package| ("trixie", package))
            .collect();
        there.extend(packages().into_iter().map(|package| ("sid", package)));
        assert_eq!(
            listed(&wanted("6.13"), &there),
            "6.1 (trixie), 7.3 (trixie)"
        );
        assert_eq!(listed(&wanted("6.13-rt"), &there), "7.3-rt (trixie)");
    }
}
