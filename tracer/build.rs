//! Builds the eBPF programs and embeds them.
use anyhow::{Context as _, anyhow};
use aya_build::{Package, Toolchain};

fn main() -> anyhow::Result<()> {
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec()?;
    let ebpf = metadata
        .packages
        .into_iter()
        .find(|package| package.name.as_str() == "tracer-ebpf")
        .ok_or_else(|| anyhow!("the workspace has no package tracer-ebpf"))?;
    let root_dir = ebpf
        .manifest_path
        .parent()
        .context("tracer-ebpf has no folder")?;
    println!("cargo:rerun-if-changed={root_dir}/../tracer-common/src");
    println!("cargo:rerun-if-env-changed=TRACER_EBPF_TOOLCHAIN");
    // `cargo xtask` sets TRACER_EBPF_TOOLCHAIN to the toolchain that has rust-src. Without it, the
    // ordinary way of aya: nightly.
    let toolchain = std::env::var("TRACER_EBPF_TOOLCHAIN").unwrap_or_else(|_| "nightly".into());
    if !toolchain.starts_with("nightly") {
        // SAFETY: a build script has one thread here. The variable reaches only the nested build,
        // which needs -Z build-std of a stable compiler.
        unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    }
    // Its progress would be replayed as warnings at each later command.
    // SAFETY: as above.
    unsafe {
        std::env::set_var("CARGO_TERM_QUIET", "true");
        std::env::set_var("CARGO_TERM_VERBOSE", "false");
    }
    let package = Package {
        name: ebpf.name.as_str(),
        root_dir: root_dir.as_str(),
        ..Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(&toolchain))
        .context("building the eBPF programs failed; `cargo xtask setup` installs what they need")
}
