//! A package: the program, man pages, completions.

use std::{fs, process::Command};

use crate::{
    build,
    process::{output, run, say, workspace},
};

/// Builds `target/dist/tracer-VERSION-ARCH.tar.gz` and its checksum.
pub(crate) fn dist() -> anyhow::Result<()> {
    let tracer = build::release()?;
    let name = format!(
        "tracer-{}-{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH
    );
    let dist = build::target_folder(&workspace()?).join("dist");
    let folder = dist.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("completions"))?;
    fs::copy(&tracer, folder.join("tracer"))?;
    run(Command::new(&tracer)
        .args(["man", "--out"])
        .arg(folder.join("man")))?;
    for shell in ["bash", "zsh", "fish"] {
        let text = output(Command::new(&tracer).args(["completions", shell]))?;
        fs::write(
            folder.join("completions").join(format!("tracer.{shell}")),
            text,
        )?;
    }
    for file in [
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-GPL-2.0",
    ] {
        fs::copy(workspace()?.join(file), folder.join(file))?;
    }
    run(Command::new("cp")
        .arg("-r")
        .arg(workspace()?.join("scenarios"))
        .arg(&folder))?;
    let archive = format!("{name}.tar.gz");
    run(Command::new("tar").current_dir(&dist).args([
        "--owner=0",
        "--group=0",
        "-czf",
        &archive,
        &name,
    ]))?;
    let sum = output(Command::new("sha256sum").current_dir(&dist).arg(&archive))?;
    fs::write(dist.join(format!("{archive}.sha256")), sum)?;
    say(&format!("{}", dist.join(archive).display()));
    Ok(())
}
