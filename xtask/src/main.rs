//! `cargo xtask`: set-up, build, run, test, bench and dist.
fn main() {}
