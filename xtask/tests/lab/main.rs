//! The lab, as its users have it: a real Xen boots once, and the tests share it, two at a time in a lab each.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and tells the figures that it has compared"
)]

mod across;
mod agents;
mod agreement;
mod agreement_net;
mod backends;
mod bindings;
mod check;
mod domains;
mod failures;
mod guests;
mod lanes;
mod network;
mod paper;
mod planted;
mod planted_net;
mod restored;
mod scenarios;
mod support;
