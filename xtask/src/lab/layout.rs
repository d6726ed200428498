//! Where a folder has its kernel: installed in `boot`, beside its modules, or as `make` leaves it.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Where modules are installed.
const MODULES: [&str; 2] = ["lib/modules", "usr/lib/modules"];
/// A build tree's image, and the file with its release.
const TREE_IMAGE: &str = "arch/x86/boot/bzImage";
const TREE_RELEASE: &str = "include/config/kernel.release";

/// A kernel's files: unpacked packages, or the user's build.
pub(super) struct KernelFiles {
    folder: PathBuf,
    /// What `uname -r` will say.
    pub(super) release: String,
    pub(super) image: PathBuf,
    modules: Modules,
}

/// Where a kernel's modules are.
#[derive(Debug, PartialEq, Eq)]
enum Modules {
    /// In a folder of theirs, named by the release.
    Installed(PathBuf),
    /// All over the tree in which they were built.
    InTree(PathBuf),
}

impl KernelFiles {
    /// The one kernel in a folder.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let mut images = installed_images(folder).into_iter();
        match (images.next(), images.next()) {
            (Some((release, image)), None) => {
                let modules = MODULES.map(|below| folder.join(below).join(&release));
                let modules = modules.into_iter().find(|folder| folder.is_dir());
                let modules = modules.with_context(|| {
                    format!("{} has no {}/{release}", folder.display(), MODULES[0])
                })?;
                Ok(Self {
                    folder: folder.to_owned(),
                    release,
                    image,
                    modules: Modules::Installed(modules),
                })
            }
            (None, _) => Self::of_tree(folder),
            (Some((one, _)), Some((other, _))) => bail!(
                "{} has several kernels ({one}, {other}): leave one",
                folder.display()
            ),
        }
    }

    /// A build tree's kernel.
    fn of_tree(tree: &Path) -> Result<Self> {
        let (image, release) = (tree.join(TREE_IMAGE), tree.join(TREE_RELEASE));
        if !image.is_file() || !release.is_file() {
            bail!(
                "{} has no kernel: neither boot/vmlinuz-RELEASE with lib/modules/RELEASE, nor \
                 usr/lib/modules/RELEASE/vmlinuz, nor {TREE_IMAGE} and {TREE_RELEASE} of a build",
                tree.display()
            );
        }
        let release = fs::read_to_string(&release)
            .with_context(|| format!("{} could not be read", release.display()))?;
        Ok(Self {
            folder: tree.to_owned(),
            release: release.trim().to_owned(),
            image,
            modules: Modules::InTree(tree.to_owned()),
        })
    }

    /// Puts the modules into `usr/lib/modules/RELEASE` of a root file system; returns that folder. What is in the kernel's
    /// own folder stays as it is.
    pub(super) fn install_modules(&self, root: &Path) -> Result<PathBuf> {
        let modules = root.join("usr/lib/modules");
        fs::create_dir_all(&modules)
            .with_context(|| format!("{} could not be created", modules.display()))?;
        let target = modules.join(&self.release);
        if target.exists() {
            bail!(
                "two kernels are called {}: give one a release of its own (CONFIG_LOCALVERSION)",
                self.release
            );
        }
        match &self.modules {
            // It may be on another file system: no hard links.
            Modules::Installed(source) => {
                shell::output(shell::command("cp").arg("-a").arg(source).arg(&target))?;
            }
            Modules::InTree(tree) => {
                let mut make = shell::command("make");
                make.arg("-sC").arg(tree).arg("modules_install");
                make.args(["INSTALL_MOD_STRIP=1", "DEPMOD=true"]);
                make.arg(format!("INSTALL_MOD_PATH={}", root.join("usr").display()));
                shell::output(&mut make)?;
            }
        }
        // What only building more modules, or booting, takes.
        for name in ["build", "source", "vmlinuz", "System.map"] {
            let _ = fs::remove_file(target.join(name));
        }
        Ok(target)
    }

    /// What tells one build of a release from the next: image and modules can be installed one without the other.
    pub(super) fn build(&self) -> Result<String> {
        let folder = self.folder.display();
        Ok(format!("{folder} {}", self.release_and_times()?))
    }

    /// The same wherever the files are.
    pub(super) fn release_and_times(&self) -> Result<String> {
        let made = |file: &Path| {
            let made = file.metadata().and_then(|facts| facts.modified());
            let made = made.with_context(|| format!("{} could not be read", file.display()))?;
            let since_1970 = made.duration_since(SystemTime::UNIX_EPOCH)?;
            anyhow::Ok(since_1970.as_nanos())
        };
        let (Modules::Installed(modules) | Modules::InTree(modules)) = &self.modules;
        let order = modules.join("modules.order");
        Ok(format!(
            "{} {} {}",
            self.release,
            made(&self.image)?,
            made(&order)?
        ))
    }
}

/// The kernels that are installed below a folder: their releases and images. One that is there twice counts once.
fn installed_images(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut images = BTreeMap::new();
    for below in MODULES {
        for release in names(&folder.join(below)) {
            let image = folder.join(below).join(&release).join("vmlinuz");
            if image.is_file() {
                images.insert(release, image);
            }
        }
    }
    let boot = folder.join("boot");
    for name in names(&boot) {
        // An older build that `make install` keeps is no kernel of its own.
        if let Some(release) = name.strip_prefix("vmlinuz-")
            && !release.ends_with(".old")
        {
            images.insert(release.to_owned(), boot.join(&name));
        }
    }
    images
}

/// What is in a folder; nothing, if it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, each of which contains its own path, or what follows a `=`.
    fn folder(name: &str, files: &[&str]) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("xtask-layout-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for file in files {
            let (path, text) = file.split_once('=').unwrap_or((file, file));
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    /// The release, and what of the image and of the modules' folder is below the folder.
    fn found(name: &str, files: &[&str]) -> Result<(String, String, String)> {
        let folder = folder(name, files);
        let found = KernelFiles::of(&folder);
        let below = |path: &Path| path.strip_prefix(&folder).unwrap().display().to_string();
        let found = found.map(|files| {
            let (Modules::Installed(modules) | Modules::InTree(modules)) = &files.modules;
            (files.release, below(&files.image), below(modules))
        });
        fs::remove_dir_all(&folder).unwrap();
        found
    }

    fn strings(words: [&str; 3]) -> (String, String, String) {
        let [release, image, modules] = words.map(str::to_owned);
        (release, image, modules)
    }

    #[test]
    fn kernel_is_found_in_boot_or_beside_its_modules() {
        let files = [
            "boot/vmlinuz-6.1-x",
            "boot/vmlinuz-6.1-x.old",
            "lib/modules/6.1-x/modules.order",
        ];
        assert_eq!(
            found("boot", &files).unwrap(),
            strings(["6.1-x", "boot/vmlinuz-6.1-x", "lib/modules/6.1-x"])
        );
        let files = ["boot/vmlinuz-6.12", "usr/lib/modules/6.12/modules.order"];
        assert_eq!(found("merged", &files).unwrap().2, "usr/lib/modules/6.12");
        let files = [
            "usr/lib/modules/7.3/vmlinuz",
            "usr/lib/modules/7.3/modules.order",
        ];
        assert_eq!(
            found("beside", &files).unwrap(),
            strings(["7.3", "usr/lib/modules/7.3/vmlinuz", "usr/lib/modules/7.3"])
        );
        let twice = [
            "boot/vmlinuz-7.3",
            "lib/modules/7.3/vmlinuz",
            "lib/modules/7.3/modules.order",
        ];
        assert_eq!(found("twice", &twice).unwrap().1, "boot/vmlinuz-7.3");
    }

    #[test]
    fn what_make_leaves_is_a_kernel() {
        let files = [
            "arch/x86/boot/bzImage",
            "include/config/kernel.release=7.3.0-mine\n",
            "modules.order",
        ];
        assert_eq!(
            found("tree", &files).unwrap(),
            strings(["7.3.0-mine", "arch/x86/boot/bzImage", ""])
        );
    }

    #[test]
    fn no_kernel_two_and_one_without_modules_are_refused() {
        let said = |name, files: &[&str]| found(name, files).unwrap_err().to_string();
        assert!(said("none", &["README"]).contains("boot/vmlinuz-RELEASE"));
        let two = ["boot/vmlinuz-1", "usr/lib/modules/2/vmlinuz"];
        assert!(said("two", &two).contains("several kernels (1, 2): leave one"));
        assert!(said("bare", &["boot/vmlinuz-1"]).contains("has no lib/modules/1"));
    }

    #[test]
    fn modules_of_a_build_tree_are_installed_by_its_makefile() {
        let makefile = "Makefile=modules_install:\n\tmkdir -p $(INSTALL_MOD_PATH)/lib/modules/7.3\n\
            \techo $(DEPMOD) > $(INSTALL_MOD_PATH)/lib/modules/7.3/modules.order\n";
        let tree = folder(
            "make",
            &[
                "arch/x86/boot/bzImage",
                "include/config/kernel.release=7.3",
                "modules.order",
                makefile,
            ],
        );
        let files = KernelFiles::of(&tree).unwrap();
        let before = files.build().unwrap();
        let root = tree.join("root");
        let target = files.install_modules(&root).unwrap();
        assert_eq!(target, root.join("usr/lib/modules/7.3"));
        let order = fs::read_to_string(target.join("modules.order")).unwrap();
        assert_eq!(order, "true\n");
        assert_eq!(files.build().unwrap(), before);
        let again = files.install_modules(&root).unwrap_err().to_string();
        assert!(again.contains("two kernels are called 7.3"), "{again}");
        fs::remove_dir_all(&tree).unwrap();
    }
}
