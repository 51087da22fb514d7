//! Trained networks as they are used: batch norms folded, weights packed, sums of integers.

pub mod calibrate;
pub mod compile;
pub mod fold;
pub mod onnx;
pub mod packed;
pub mod requantize;
pub mod session;

use crate::data::Input;
use crate::error::{Error, Result};
use crate::method::Method;
use crate::model::{Arch, Graph, Shortcut};
use std::collections::BTreeMap;

pub use compile::{Arith, Inference};
pub use session::Session;

/// A convolution with the batch norm behind it: y = scale (x * weight) + bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// (K, C, R, S), as PyTorch orders it.
    pub weight: Vec<f32>,
    pub shape: [usize; 4],
    /// (K) each.
    pub scale: Vec<f32>,
    pub bias: Vec<f32>,
    /// Whether the weights are of the method's alphabet.
    pub discrete: bool,
}

impl Conv {
    /// The largest sum of magnitudes of an output channel's weights.
    pub fn largest_sum(&self) -> f64 {
        let sums = self.weight.chunks_exact(self.weight.len() / self.shape[0]);
        sums.map(|w| w.iter().map(|w| f64::from(w.abs())).sum()).fold(0.0, f64::max)
    }
}

/// A trained network that only infers.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub arch: Arch,
    pub shortcut: Shortcut,
    pub method: Method,
    pub input: Input,
    /// By name, as `layer1.0.conv1`.
    pub convs: BTreeMap<String, Conv>,
    /// The classifier: (classes, C) and (classes).
    pub fc: [Vec<f32>; 2],
    /// For each layer whose output can be integers: the exponents e at 8 and at 16 bits, of which an integer q stands for
    /// q 2^-e. None where the network was not calibrated.
    pub exponents: Option<BTreeMap<String, [i32; 2]>>,
}

impl Model {
    /// The layers, for images of the model's own size.
    ///
    /// # Errors
    /// [`Error::Usage`] for a shortcut that the architecture does not have.
    pub fn graph(&self) -> Result<Graph> {
        self.arch.build(self.shortcut, self.input.image, self.input.classes.len())
    }

    /// Weights, and how many of them are discrete.
    pub fn weights(&self) -> [usize; 2] {
        let all = self.convs.values().map(|conv| conv.weight.len()).sum::<usize>() + self.fc[0].len();
        let discrete = self.convs.values().filter(|conv| conv.discrete).map(|conv| conv.weight.len()).sum();
        [all, discrete]
    }
}

/// An error of what a layer cannot be computed with.
fn unfit(layer: &str, problem: impl Into<String>) -> Error {
    Error::Arithmetic { layer: layer.into(), problem: problem.into() }
}
