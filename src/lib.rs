//! Trains and runs sign-sparse-shift (S³) low-bit networks on any GPU, with WGSL kernels through wgpu.

pub mod engine;
pub mod error;
pub mod gpu;
pub mod kernels;
pub mod method;
pub mod model;
pub mod plan;
pub mod reference;
pub mod rng;

pub use error::{Error, Result};
