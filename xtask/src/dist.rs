//! `cargo xtask dist`: a release folder, its archive and its checksum.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::setup::{self, Choice};
use crate::{cargo, shell, workspace};

/// Files of the repository that every release holds.
const DOCUMENTS: [&str; 6] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-GPL-2.0",
    "docs",
    "scenarios",
];

/// Packs a release of this machine's target, and a static one where the musl target is installed.
pub(crate) fn command() -> Result<()> {
    let choice = setup::toolchain()?;
    let (arch, dist) = (std::env::consts::ARCH, workspace::target_dir().join("dist"));
    pack(&cargo::build_tracer_with(&choice, true, None)?, arch, &dist)?;
    let musl = format!("{arch}-unknown-linux-musl");
    if has_target(&choice, &musl) {
        pack(
            &cargo::build_tracer_with(&choice, true, Some(&musl))?,
            &format!("{arch}-static"),
            &dist,
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

/// Makes `tracer-VERSION-ARCH{/,.tar.gz,.tar.gz.sha256}` in `dist`.
fn pack(binary: &Path, arch: &str, dist: &Path) -> Result<()> {
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
    shell::run(tar.current_dir(dist))?;
    let sum = shell::output(shell::command("sha256sum").arg(&archive).current_dir(dist))?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const FAKE: &str = "#!/bin/sh\ncase $1 in\n\
        man) echo page > \"$3/tracer.1\" ;;\ncompletions) echo \"for $2\" ;;\nesac\n";

    #[test]
    fn release_holds_pages_completions_and_a_fitting_checksum() {
        let dist = std::env::temp_dir().join(format!("xtask-dist-{}", std::process::id()));
        create(&dist).unwrap();
        let binary = dist.join("fake");
        write(&binary, FAKE).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        pack(&binary, "test", &dist).unwrap();
        let name = format!("tracer-{}-test", env!("CARGO_PKG_VERSION"));
        let read = |file: &str| fs::read_to_string(dist.join(&name).join(file)).unwrap();
        assert_eq!(read("share/man/man1/tracer.1"), "page\n");
        assert_eq!(read("share/zsh/site-functions/_tracer"), "for zsh\n");
        assert!(read("README.md").starts_with("# tracer"));
        let sum = format!("{name}.tar.gz.sha256");
        assert!(shell::succeeds(
            shell::command("sha256sum")
                .args(["-c", &sum])
                .current_dir(&dist)
        ));
        fs::remove_dir_all(&dist).unwrap();
    }
}
