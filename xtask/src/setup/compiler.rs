//! The rustup toolchains that can compile the eBPF programs.
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Names the toolchain of the eBPF programs; `tracer/build.rs` reads it, and it overrides the search.
pub(crate) const TOOLCHAIN_VARIABLE: &str = "TRACER_EBPF_TOOLCHAIN";

/// The file whose presence says that rust-src is complete.
const SOURCE_MARK: &str = "lib/rustlib/src/rust/library/core/Cargo.toml";

/// One installed toolchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// What `rustup run` takes.
    pub(crate) toolchain: String,
    /// Its folder.
    pub(crate) sysroot: PathBuf,
    /// What `rustc -vV` says.
    pub(crate) version: Version,
}

/// The lines of `rustc -vV` that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Such as `1.95.0` or `1.97.0-nightly`.
    pub(crate) release: String,
    /// Such as `x86_64-unknown-linux-gnu`.
    pub(crate) host: String,
    /// LLVM's major version.
    pub(crate) llvm: u32,
}

impl Version {
    /// Reads what `rustc -vV` prints.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::trim)
                .with_context(|| format!("`rustc -vV` printed no line `{name}`"))
        };
        let llvm_version = field("LLVM version")?;
        let llvm = llvm_version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .with_context(|| format!("LLVM version {llvm_version:?} has no major number"))?;
        let (release, host) = (field("release")?.to_owned(), field("host")?.to_owned());
        Ok(Self {
            release,
            host,
            llvm,
        })
    }

    /// The release without `-nightly` or `-beta.1`.
    pub(crate) fn base(&self) -> &str {
        self.release.split('-').next().unwrap_or(&self.release)
    }

    /// Whether the workspace's `rust-version` is reached.
    fn is_recent_enough(&self) -> bool {
        number(self.base()) >= number(env!("CARGO_PKG_RUST_VERSION"))
    }
}

/// Major and minor number, for comparison.
fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

impl Compiler {
    /// Asks the toolchain what it is.
    pub(crate) fn ask(toolchain: &str) -> Result<Self> {
        let rustc = |args: &[&str]| shell::output(in_toolchain(toolchain, "rustc").args(args));
        let version = Version::parse(&rustc(&["-vV"])?)?;
        let sysroot = PathBuf::from(rustc(&["--print", "sysroot"])?.trim_end());
        Ok(Self {
            toolchain: toolchain.to_owned(),
            sysroot,
            version,
        })
    }

    /// A program of this toolchain.
    pub(crate) fn program(&self, program: &str) -> Command {
        in_toolchain(&self.toolchain, program)
    }

    /// Whether the library sources are there and complete.
    pub(crate) fn has_source(&self) -> bool {
        self.sysroot.join(SOURCE_MARK).is_file()
    }

    /// Where the toolchain looks for the sources.
    pub(crate) fn source_link(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    /// Whether it is a nightly, whose sources only rustup has.
    pub(crate) fn is_nightly(&self) -> bool {
        self.version.release.ends_with("-nightly")
    }
}

fn in_toolchain(toolchain: &str, program: &str) -> Command {
    let mut command = shell::command("rustup");
    command.args(["run", toolchain, program]);
    command
}

/// The toolchains to choose from, best first: nightly, the active one, stable.
///
/// Only installed ones: asking rustup to run another would download it.
pub(crate) fn candidates() -> Result<Vec<Compiler>> {
    if let Some(name) = env::var(TOOLCHAIN_VARIABLE)
        .ok()
        .filter(|name| !name.is_empty())
    {
        let compiler = Compiler::ask(&name).with_context(|| {
            format!("{TOOLCHAIN_VARIABLE}={name} is not an installed toolchain")
        })?;
        return Ok(vec![compiler]);
    }
    let listed = shell::output(shell::command("rustup").args(["toolchain", "list"])).context(
        "rustup is needed to build the eBPF programs: install it from https://rustup.rs",
    )?;
    let active = shell::output(shell::command("rustup").args(["show", "active-toolchain"]))
        .unwrap_or_default();
    let mut found: Vec<Compiler> = Vec::new();
    for name in ["nightly", first_word(&active), "stable"] {
        if !is_listed(&listed, name) {
            continue;
        }
        // A damaged toolchain is no candidate, and no reason to stop either.
        let Ok(compiler) = Compiler::ask(name) else {
            continue;
        };
        let known = found.iter().any(|other| other.sysroot == compiler.sysroot);
        if !known && compiler.version.is_recent_enough() {
            found.push(compiler);
        }
    }
    if found.is_empty() {
        bail!(
            "no installed toolchain is Rust {} or newer: run `rustup toolchain install stable`",
            env!("CARGO_PKG_RUST_VERSION")
        );
    }
    Ok(found)
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// Whether `rustup toolchain list` has the toolchain, by its full or its channel's name.
fn is_listed(listed: &str, name: &str) -> bool {
    let channel = format!("{name}-");
    !name.is_empty()
        && listed.lines().map(first_word).any(|line| {
            line == name
                || line
                    .strip_prefix(&channel)
                    .is_some_and(|host| !host.starts_with(|c: char| c.is_ascii_digit()))
        })
}

/// The toolchain's own libLLVM.
pub(crate) fn lib_llvm(sysroot: &Path) -> Result<PathBuf> {
    let lib = sysroot.join("lib");
    let entries = lib
        .read_dir()
        .with_context(|| format!("the folder {} is unreadable", lib.display()))?;
    entries
        .flatten()
        .find(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("libLLVM.so.")
        })
        .map(|entry| entry.path())
        .with_context(|| {
            format!(
                "{} has no libLLVM.so.*: use a toolchain that rustup installed",
                lib.display()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\n\
        commit-hash: 59807616e1fa2540724bfbac14d7976d7e4a3860\ncommit-date: 2026-04-14\n\
        host: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";

    #[test]
    fn version_is_read_from_rustc() {
        let version = Version::parse(STABLE).unwrap();
        assert_eq!(version.release, "1.95.0");
        assert_eq!(version.host, "x86_64-unknown-linux-gnu");
        assert_eq!(version.llvm, 22);
        let nightly = Version::parse(&STABLE.replace("release: 1.95.0", "release: 1.97.0-nightly"));
        assert_eq!(nightly.unwrap().base(), "1.97.0");
    }

    #[test]
    fn missing_line_is_named() {
        let error = Version::parse("rustc 1.95.0\nrelease: 1.95.0\n").unwrap_err();
        assert!(format!("{error}").contains("LLVM version"), "{error}");
    }

    #[test]
    fn old_compiler_is_not_recent_enough() {
        let old = Version {
            release: "1.85.1".into(),
            host: "x".into(),
            llvm: 19,
        };
        assert!(!old.is_recent_enough());
        assert!(
            Version {
                release: "2.0.0".into(),
                ..old
            }
            .is_recent_enough()
        );
    }

    #[test]
    fn toolchains_are_listed_by_channel_or_full_name() {
        let listed =
            "stable-x86_64-unknown-linux-gnu (active, default)\nnightly-2026-01-02-x86_64\n";
        assert!(is_listed(listed, "stable"));
        assert!(is_listed(listed, "stable-x86_64-unknown-linux-gnu"));
        assert!(
            !is_listed(listed, "nightly"),
            "a dated nightly is another toolchain"
        );
        assert!(!is_listed(listed, ""));
    }
}
