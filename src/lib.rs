//! Trains and runs sign-sparse-shift (S³) low-bit networks on any GPU, with WGSL kernels through wgpu.

pub mod bench;
pub mod cache;
pub mod cli;
pub mod columns;
pub mod cpu;
pub mod data;
pub mod deploy;
pub mod engine;
pub mod error;
pub mod experiment;
pub mod files;
pub mod gpu;
pub mod kernels;
pub mod method;
pub mod model;
pub mod plan;
pub mod reference;
pub mod report;
pub mod rng;
pub mod train;

pub use error::{Error, Result};

/// Version, with the commit where the build knew it.
pub const VERSION: &str = env!("SHIFTNET_VERSION");

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
