//! `cargo xtask dist`: a release folder, its archive and its checksum.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::setup::{self, Choice};
use crate::{cargo, shell, workspace};

/// Files of the repository that every release holds.
const DOCUMENTS: [&str; 5] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-GPL-2.0",
    "scenarios",
];

/// Packs a release of this machine's target, and a static one where the musl target is installed.
pub(crate) fn command() -> Result<()> {
    let choice = setup::toolchain()?;
    let arch = std::env::consts::ARCH;
    pack(&cargo::build_tracer_with(&choice, true, None)?, arch)?;
    let musl = format!("{arch}-unknown-linux-musl");
    if has_target(&choice, &musl) {
        pack(
            &cargo::build_tracer_with(&choice, true, Some(&musl))?,
            &format!("{arch}-static"),
        )?;
    } else {
        println!("dist: no static build; `rustup target add {musl}` would allow one");
    }
    Ok(())
}

fn has_target(choice: &Choice, target: &str) -> bool {
    let mut rustup = shell::command("rustup");
    rustup.args([
        "target",
        "list",
        "--installed",
        "--toolchain",
        &choice.toolchain,
    ]);
    shell::output(&mut rustup).is_ok_and(|list| list.lines().any(|line| line == target))
}

/// Makes `target/dist/tracer-VERSION-ARCH{/,.tar.gz,.tar.gz.sha256}`.
fn pack(binary: &Path, arch: &str) -> Result<()> {
    let dist = workspace::target_dir().join("dist");
    let name = format!("tracer-{}-{arch}", env!("CARGO_PKG_VERSION"));
    let folder = dist.join(&name);
    // An older folder of the same version is replaced as a whole.
    let _ = fs::remove_dir_all(&folder);
    create(&folder.join("bin"))?;
    let installed = folder.join("bin/tracer");
    fs::copy(binary, &installed)
        .with_context(|| format!("{} could not be written", installed.display()))?;
    write_man_pages(&installed, &folder.join("share/man/man1"))?;
    write_completions(&installed, &folder.join("share"))?;
    let documents: Vec<PathBuf> = DOCUMENTS
        .iter()
        .map(|name| workspace::root().join(name))
        .filter(|path| path.exists())
        .collect();
    shell::run(shell::command("cp").arg("-r").args(documents).arg(&folder))?;
    let archive = format!("{name}.tar.gz");
    let mut tar = shell::command("tar");
    tar.args([
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "-czf",
        &archive,
        &name,
    ]);
    shell::run(tar.current_dir(&dist))?;
    let sum = shell::output(shell::command("sha256sum").arg(&archive).current_dir(&dist))?;
    write(&dist.join(format!("{archive}.sha256")), &sum)?;
    println!("dist: {}", dist.join(archive).display());
    Ok(())
}

fn write_man_pages(tracer: &Path, folder: &Path) -> Result<()> {
    create(folder)?;
    shell::run(shell::command(tracer).args(["man", "--out"]).arg(folder))
        .context("the man pages could not be made")
}

fn write_completions(tracer: &Path, share: &Path) -> Result<()> {
    for (name, file) in [
        ("bash", "bash-completion/completions/tracer"),
        ("zsh", "zsh/site-functions/_tracer"),
        ("fish", "fish/vendor_completions.d/tracer.fish"),
    ] {
        let text = shell::output(shell::command(tracer).args(["completions", name]))
            .with_context(|| format!("the completions for {name} could not be made"))?;
        let file = share.join(file);
        if let Some(folder) = file.parent() {
            create(folder)?;
        }
        write(&file, &text)?;
    }
    Ok(())
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{} could not be created", folder.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("{} could not be written", file.display()))
}
