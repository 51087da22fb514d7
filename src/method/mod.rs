//! The weight families: how the weights of the residual blocks' convolutions are represented and trained.

pub mod codec;
pub mod s3;

use crate::error::{Error, Result};
use crate::kernels::Hyper;
use crate::kernels::s3_update::Tensors;
use crate::plan::{Dispatch, View};
use crate::rng::Draws;

/// The method's name.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum MethodName {
    /// Sign-sparse-shift: weights 0, ±1, ±2, ±4 at 3 bits.
    #[default]
    S3,
    /// Full precision: the baseline.
    Fp32,
}

/// How latents begin.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum InitName {
    /// The dense prior: every weight begins as ±1.
    #[default]
    Dense,
    /// All latents normal.
    Normal,
}

/// A method with its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    pub name: MethodName,
    pub bits: u32,
}

/// A family of discrete weights with latents of their own.
pub trait WeightFamily: Send + Sync {
    /// Suffixes of the latents' names on disk, in the order of the planes.
    fn latents(&self) -> Vec<String>;

    /// An initial value of latent `plane`, for a He fan-out standard deviation `sigma`.
    fn initial(&self, plane: usize, init: InitName, sigma: f32, draws: &mut Draws) -> f32;

    /// The discrete weight of one weight's latents.
    fn weight(&self, latents: &[f32]) -> f32;

    /// The update of a range of weights, from dL/dw to new latents and weights.
    fn update(&self, label: &str, hyper: Hyper, control: [View; 2], tensors: Tensors) -> Result<Dispatch>;
}

impl Method {
    /// Checks the bits: 2 to 5 for S³; full precision ignores them.
    pub fn new(name: MethodName, bits: u32) -> Result<Method> {
        if name == MethodName::S3 && !(2..=5).contains(&bits) {
            return Err(Error::setting("--bits", bits, "2, 3, 4 or 5"));
        }
        Ok(Method { name, bits })
    }

    /// Full precision.
    pub const FP32: Method = Method { name: MethodName::Fp32, bits: 32 };

    /// The weight family, or `None` for full precision.
    pub fn family(&self) -> Option<Box<dyn WeightFamily>> {
        match self.name {
            MethodName::Fp32 => None,
            MethodName::S3 => Some(Box::new(s3::S3 { shifts: s3::shifts(self.bits) })),
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.name {
            MethodName::Fp32 => write!(f, "fp32"),
            MethodName::S3 => write!(f, "S³ {}-bit", self.bits),
        }
    }
}
