//! Rebuilds the programs when the linker changes.
fn main() {
    match which::which("bpf-linker") {
        Ok(path) => println!("cargo:rerun-if-changed={}", path.display()),
        Err(error) => {
            println!("cargo:warning=bpf-linker: {error}; `cargo xtask setup` installs it")
        }
    }
}
