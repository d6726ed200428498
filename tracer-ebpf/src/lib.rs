//! A library target, so that `tracer` can name this crate as a build dependency and be rebuilt
//! with it.
#![no_std]
