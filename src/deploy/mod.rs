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
use crate::model::graph::Op;
use crate::model::{Arch, Graph, Shortcut};
use std::collections::BTreeMap;

pub use compile::{Arith, Inference};
pub use session::Session;

/// A convolution with the batch norm behind it: y = scale (x * weight) + bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// (K, C, R, S), as PyTorch orders it.
    pub weight: Vec<f32>,
    /// K, C, R, S.
    pub shape: [usize; 4],
    /// (K) each.
    pub scale: Vec<f32>,
    pub bias: Vec<f32>,
    /// Whether the weights are of the method's alphabet, and then whole numbers: multiples of the smallest power of two.
    pub discrete: bool,
}

impl Conv {
    /// Whether there are as many weights, scales and biases as its shape says.
    fn is_whole(&self) -> bool {
        let k = self.shape[0];
        [self.weight.len(), self.scale.len(), self.bias.len()] == [self.shape.iter().product(), k, k]
    }

    /// The largest sum of magnitudes of an output channel's weights.
    pub fn largest_sum(&self) -> f64 {
        let sums = self.weight.chunks_exact(self.weight.len() / self.shape[0]);
        sums.map(|w| w.iter().map(|w| f64::from(w.abs())).sum()).fold(0.0, f64::max)
    }
}

/// A trained network that only infers.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The network.
    pub arch: Arch,
    pub shortcut: Shortcut,
    /// What the weights of its residual blocks are of.
    pub method: Method,
    /// What it is fed, and the classes that it tells apart.
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
    /// The layers, for images of the model's own size; its weights are those of these layers.
    ///
    /// # Errors
    /// [`Error::Usage`] for a shortcut that the architecture does not have, and where a layer's weights are missing or of another
    /// shape.
    pub fn graph(&self) -> Result<Graph> {
        let graph = self.arch.build(self.shortcut, self.input.image, self.input.classes.len())?;
        for node in &graph.nodes {
            let fits = match node.op {
                Op::Conv { .. } => {
                    let shape = graph.weight_shape(node);
                    self.convs
                        .get(&node.name)
                        .is_some_and(|conv| Some(conv.shape) == shape && conv.is_whole())
                }
                Op::Linear { k } => {
                    let c = graph.nodes[node.inputs[0]].shape[2];
                    [self.fc[0].len(), self.fc[1].len()] == [k * c, k]
                }
                _ => true,
            };
            if !fits {
                return Err(Error::Usage(format!(
                    "the model's weights of {} do not fit {}",
                    node.name, self.arch
                )));
            }
        }
        Ok(graph)
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
