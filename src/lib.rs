//! Trains and runs sign-sparse-shift (S³) low-bit networks on any GPU, with WGSL kernels through wgpu.
//!
//! # Where to begin
//!
//! - [`train::Setup`] makes a trainer of settings, which is an iterator of [`train::Event`]s: of a built-in dataset with
//!   [`Setup::new`](train::Setup::new), of your own [`data::Dataset`] with [`Setup::of`](train::Setup::of).
//! - [`deploy::Session`] runs a trained network on any number of images: one read with [`deploy::packed::read`], or made of a
//!   checkpoint with [`train::Trained::read`] and [`fold`](train::Trained::fold).
//! - [`engine::Target`] chooses where: a GPU, or the CPU.
//! - [`method`] has the weight families, each the mathematics of one weight; [`method::Method`] is one with its bits.
//! - [`model::Network`] compiles layers to a [`plan::Plan`], which an [`engine::Engine`] executes: for steps, gradients
//!   ([`model::state::gradients`]) and networks of your own.
//! - [`bench`](mod@bench) measures kernels, steps and inference.
//!
//! What can go wrong is an [`Error`], which says what to do. The rooms behind these, and why they are as they are, are in the
//! repository's `ARCHITECTURE.md`.
//!
//! # Training
//!
//! ```no_run
//! use shiftnet::engine::Target;
//! use shiftnet::train::{Event, Flags, Setup};
//!
//! let settings = Flags { epochs: Some(1), limit: Some(640), ..Flags::default() }.resolve()?;
//! for event in Setup::new(settings, Target::choose(None)?)?.begin(None)? {
//!     if let Event::Step(step) = event? {
//!         println!("{} {}", step.step, step.loss);
//!     }
//! }
//! # Ok::<(), shiftnet::Error>(())
//! ```
//!
//! # Inference
//!
//! ```no_run
//! use shiftnet::deploy::{Arith, Session, packed};
//! use shiftnet::engine::Target;
//!
//! let model = packed::read("models/resnet20-cifar10-s3-3bit.snp".as_ref())?;
//! let mut session = Session::new(&model, Arith::Shift { bits: 8 }, 16, &Target::choose(None)?)?;
//! for logits in session.run(&vec![0; 40 * model.input.image_bytes()])? {
//!     println!("{logits:?}");
//! }
//! # Ok::<(), shiftnet::Error>(())
//! ```

pub mod bench;
#[doc(hidden)]
pub mod cache;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod columns;
pub mod cpu;
pub mod data;
pub mod deploy;
pub mod engine;
pub mod error;
pub mod experiment;
#[doc(hidden)]
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
