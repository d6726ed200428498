//! A compiler that can build for the BPF machine: one with its library's source, and bpf-linker.
//!
//! The ordinary way is a nightly toolchain with the component rust-src. Where that cannot be had, any
//! toolchain will do whose library source can be: Debian's package rust-src of exactly the
//! compiler's version, extracted beside the toolchain and not installed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, anyhow, bail};

use crate::{
    process::{find, output, run, say},
    setup::apt_source,
};

/// The version of bpf-linker that is built where none is found.
const LINKER: &str = "0.13.0";
/// Debian releases that are looked through for the compiler's source, newest last.
const SUITES: [&str; 5] = [
    "trixie",
    "trixie-backports",
    "trixie-backports-sloppy",
    "forky",
    "sid",
];

/// What eBPF programs are built with.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// The rustup toolchain.
    pub(crate) toolchain: String,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
}

/// A toolchain of rustup.
struct Compiler {
    name: String,
    sysroot: PathBuf,
    release: String,
    llvm: String,
}

impl Compiler {
    fn find(name: &str) -> Option<Self> {
        let rustc = |args: &[&str]| {
            output(
                Command::new("rustup")
                    .args(["run", name, "rustc"])
                    .args(args),
            )
        };
        let sysroot = rustc(&["--print", "sysroot"]).ok()?;
        let version = rustc(&["-vV"]).ok()?;
        let field = |field: &str| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(field))
                .map(|value| value.trim().to_owned())
        };
        Some(Self {
            name: name.into(),
            sysroot: sysroot.trim().into(),
            release: field("release:")?,
            llvm: field("LLVM version:")?.split('.').next()?.to_owned(),
        })
    }

    fn library(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    fn has_source(&self) -> bool {
        self.library().join("library/core/Cargo.toml").is_file()
    }
}

/// Finds or installs the tools; `check` only looks.
pub(super) fn install(check: bool) -> anyhow::Result<Tools> {
    if find("rustup").is_none() {
        bail!(
            "rustup is missing: install it from your distribution or from rustup's own site, then run this again"
        );
    }
    let compiler = compiler(check)?;
    let linker = linker(&compiler, check)?;
    Ok(Tools {
        toolchain: compiler.name,
        linker,
    })
}

fn compiler(check: bool) -> anyhow::Result<Compiler> {
    let nightly = Compiler::find("nightly");
    let stable = Compiler::find("stable");
    let ready = |compiler: &Option<Compiler>| compiler.as_ref().is_some_and(Compiler::has_source);
    if ready(&nightly) {
        return nightly.context("nightly is gone");
    }
    if ready(&stable) {
        return stable.context("stable is gone");
    }
    if check {
        bail!("no toolchain has the source of Rust's library; `cargo xtask setup` gets it");
    }
    say("the eBPF programs need the source of Rust's library: asking rustup for it");
    if let Some(compiler) = nightly {
        let added = Command::new("timeout")
            .args([
                "120",
                "rustup",
                "component",
                "add",
                "rust-src",
                "--toolchain",
                "nightly",
            ])
            .stderr(Stdio::null())
            .status();
        if added.is_ok_and(|status| status.success()) && compiler.has_source() {
            return Ok(compiler);
        }
    }
    let compiler =
        stable.context("there is no stable toolchain: run `rustup toolchain install stable`")?;
    say("rustup cannot give it: taking it from Debian's package of the same version");
    debian_source(&compiler)?;
    Ok(compiler)
}

/// Where what is downloaded and built is kept.
fn cache() -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("tracer-ebpf");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Downloads the library's source for exactly this compiler and links it into the toolchain.
fn debian_source(compiler: &Compiler) -> anyhow::Result<()> {
    let source = apt_source::debian(Path::new("/")).context(
        "this machine has no Debian package source: run `rustup toolchain install nightly --component rust-src`",
    )?;
    let apt = cache()?.join("apt");
    for folder in ["lists/partial", "archives/partial", "parts"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    let lines: String = SUITES
        .iter()
        .map(|suite| {
            format!(
                "deb [signed-by={}] {} {suite} main\n",
                source.key, source.address
            )
        })
        .collect();
    fs::write(apt.join("sources.list"), lines)?;
    // A release that this mirror lacks is no failure.
    let _ = apt_command("apt-get", &apt)
        .args(["-qq", "update"])
        .stderr(Stdio::null())
        .status();
    let offered = output(apt_command("apt-cache", &apt).args(["madison", "rust-src"]))?;
    let version = offered
        .lines()
        .filter_map(|line| line.split('|').nth(1).map(str::trim))
        .find(|version| version.split(['+', '-', '~']).next() == Some(compiler.release.as_str()))
        .with_context(|| {
            format!(
                "Debian has no rust-src of version {}: run `rustup toolchain install nightly --component rust-src`",
                compiler.release
            )
        })?
        .to_owned();
    say(&format!("downloading Debian's rust-src {version}"));
    run(apt_command("apt-get", &apt).current_dir(&apt).args([
        "-qq",
        "download",
        &format!("rust-src={version}"),
    ]))?;
    let package = fs::read_dir(&apt)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
        .context("apt-get downloaded nothing")?;
    let extracted = cache()?.join(format!("rust-src-{}", compiler.release));
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(&package)
        .arg(&extracted))?;
    fs::remove_dir_all(&apt)?;
    link_source(compiler, &extracted)
}

/// apt with its own lists and sources: the machine's are not changed.
fn apt_command(program: &str, apt: &Path) -> Command {
    let mut command = Command::new(program);
    let mut option = |name: &str, value: String| {
        command.arg("-o").arg(format!("{name}={value}"));
    };
    option(
        "Dir::Etc::SourceList",
        apt.join("sources.list").display().to_string(),
    );
    option(
        "Dir::Etc::SourceParts",
        apt.join("parts").display().to_string(),
    );
    option(
        "Dir::Etc::PreferencesParts",
        apt.join("parts").display().to_string(),
    );
    option("Dir::State::Lists", apt.join("lists").display().to_string());
    option("Dir::Cache", apt.display().to_string());
    // The folder is the user's own, which apt's sandbox user may not read.
    option("APT::Sandbox::User", "root".into());
    command
}

fn link_source(compiler: &Compiler, extracted: &Path) -> anyhow::Result<()> {
    let target = fs::read_dir(extracted.join("usr/src"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("library/core/Cargo.toml").is_file())
        .context("the package rust-src holds no library")?;
    let link = compiler.library();
    if let Some(folder) = link.parent() {
        fs::create_dir_all(folder)?;
    }
    let _ = fs::remove_file(&link);
    symlink(&target, &link).with_context(|| {
        format!(
            "cannot link {} into the toolchain: make it writable, or run `ln -s {} {}` with the rights to",
            target.display(),
            target.display(),
            link.display()
        )
    })
}

/// bpf-linker: one that is there and runs, or one built against the compiler's own LLVM.
fn linker(compiler: &Compiler, check: bool) -> anyhow::Result<PathBuf> {
    let own = cache()?.join("bin/bpf-linker");
    let works = |path: &PathBuf| output(Command::new(path).arg("--version")).is_ok();
    if let Some(linker) = find("bpf-linker")
        .into_iter()
        .chain([own.clone()])
        .find(works)
    {
        return Ok(linker);
    }
    if check {
        bail!("bpf-linker is missing; `cargo xtask setup` builds it");
    }
    say(&format!(
        "building bpf-linker {LINKER} against the LLVM {} of the toolchain {}",
        compiler.llvm, compiler.name
    ));
    // llvm-sys wants a prefix with a libLLVM.so in it; the toolchain has one under a longer name.
    let prefix = cache()?.join("llvm");
    fs::create_dir_all(prefix.join("lib"))?;
    let library = fs::read_dir(compiler.sysroot.join("lib"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("libLLVM"))
        })
        .ok_or_else(|| anyhow!("the toolchain {} has no libLLVM", compiler.name))?;
    for name in [
        library.file_name().context("libLLVM has no name")?,
        "libLLVM.so".as_ref(),
    ] {
        let link = prefix.join("lib").join(name);
        let _ = fs::remove_file(&link);
        symlink(&library, &link)?;
    }
    run(Command::new("rustup")
        .args([
            "run",
            &compiler.name,
            "cargo",
            "install",
            "bpf-linker",
            "--version",
            LINKER,
            "--locked",
            "--force",
            "--no-default-features",
        ])
        .args(["--features", &format!("llvm-{}", compiler.llvm), "--root"])
        .arg(cache()?)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("LLVM_PREFIX", &prefix))?;
    if works(&own) {
        Ok(own)
    } else {
        bail!("bpf-linker was built, but does not run: {}", own.display())
    }
}
