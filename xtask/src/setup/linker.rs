//! bpf-linker, linked to the compiler's own LLVM so that no LLVM needs installing.
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::compiler::{self, Compiler};
use crate::{shell, workspace};

/// The version that is built here.
const VERSION: &str = "0.13.0";

/// The LLVM versions that it can be built for.
const LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// What the trial compiles: a linker of another LLVM cannot read it.
const TRIAL: &str = "#![no_std]\n#[unsafe(no_mangle)]\n\
    pub extern \"C\" fn probe(x: u64) -> u64 { x.wrapping_add(1) }\n";

/// A bpf-linker that links what the compiler emits: on PATH, else in the cache.
pub(crate) fn find(compiler: &Compiler, cache: &Path) -> Option<PathBuf> {
    let on_path = shell::find("bpf-linker");
    let cached = folder(compiler, cache).join("bin/bpf-linker");
    on_path.into_iter().chain([cached]).find(|linker| {
        let works = linker.is_file() && trial(linker, compiler).is_ok();
        if linker.is_file() && !works {
            eprintln!(
                "bpf-linker: {} does not work with this compiler",
                linker.display()
            );
        }
        works
    })
}

/// Whether [`build`] knows the compiler's LLVM; a new nightly's may be too new.
pub(crate) fn can_build(compiler: &Compiler) -> bool {
    LLVM.contains(&compiler.version.llvm)
}

/// Builds bpf-linker into the cache.
pub(crate) fn build(compiler: &Compiler, cache: &Path) -> Result<PathBuf> {
    let folder = folder(compiler, cache);
    eprintln!(
        "bpf-linker: building {VERSION} into {} (about a minute)",
        folder.display()
    );
    let shim = llvm_shim(compiler, &folder)?;
    let mut cargo = compiler.program("cargo");
    cargo
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
        ])
        .args(["--no-default-features", "--features"])
        .arg(format!("llvm-{}", compiler.version.llvm))
        .arg("--root")
        .arg(&folder)
        .env("LLVM_PREFIX", &shim)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        // The workspace's own target folder is not bpf-linker's.
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(&folder);
    shell::run(&mut cargo).context(
        "bpf-linker could not be built; it needs a C compiler and the crate registry. \
         One of your own on PATH is used instead when it works",
    )?;
    let linker = folder.join("bin/bpf-linker");
    trial(&linker, compiler).context("the new bpf-linker does not work")?;
    Ok(linker)
}

/// One folder per compiler: an update of the toolchain gets a linker of its own.
fn folder(compiler: &Compiler, cache: &Path) -> PathBuf {
    let version = &compiler.version;
    cache.join(format!(
        "bpf-linker-{VERSION}-rustc-{}-llvm-{}",
        version.release, version.llvm
    ))
}

/// A folder that looks like an LLVM installation and holds only the compiler's libLLVM.
fn llvm_shim(compiler: &Compiler, folder: &Path) -> Result<PathBuf> {
    let library = compiler::lib_llvm(&compiler.sysroot)?;
    let shim = folder.join("llvm");
    let lib = shim.join("lib");
    // A shim of an earlier attempt is replaced as a whole.
    let _ = fs::remove_dir_all(&lib);
    fs::create_dir_all(&lib).with_context(|| format!("{} could not be created", lib.display()))?;
    let name = library.file_name().context("libLLVM has no file name")?;
    for link in [lib.join(name), lib.join("libLLVM.so")] {
        symlink(&library, &link)
            .with_context(|| format!("the link {} could not be created", link.display()))?;
    }
    Ok(shim)
}

/// Compiles and links one function, as the build of the eBPF programs does.
fn trial(linker: &Path, compiler: &Compiler) -> Result<()> {
    let dir = workspace::target_dir().join(format!("xtask/linker-trial-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("{} could not be created", dir.display()))?;
    let result = trial_in(&dir, linker, compiler);
    // Small files in the target folder; the trial's answer matters more.
    let _ = fs::remove_dir_all(&dir);
    result
}

fn trial_in(dir: &Path, linker: &Path, compiler: &Compiler) -> Result<()> {
    fs::write(dir.join("probe.rs"), TRIAL).context("the trial's source could not be written")?;
    let mut rustc = compiler.program("rustc");
    rustc.args([
        "--edition=2024",
        "--crate-type=lib",
        "-Cpanic=abort",
        "-Copt-level=2",
    ]);
    rustc
        .args(["--emit=llvm-bc", "-o", "probe.bc", "probe.rs"])
        .current_dir(dir);
    shell::output(&mut rustc)?;
    let mut link = shell::command(linker);
    link.args(["--target=bpfel-unknown-none", "--btf", "--export=probe"]);
    link.args(["--output=probe.o", "probe.bc"]).current_dir(dir);
    shell::output(&mut link).map(drop)
}
