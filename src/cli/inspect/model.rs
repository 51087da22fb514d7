//! What is in a packed model, layer by layer, and what it takes to run.

use super::{Kind, dimensions, percent};
use crate::cli::print;
use crate::columns::columns;
use crate::deploy::compile::{Inference, Options};
use crate::deploy::{Arith, Model, packed};
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::kernels::choose::Choices;
use crate::model::resnet::{Arch, Shortcut};
use crate::plan::lifetimes;
use serde::Serialize;
use std::path::Path;

/// A packed model, and what it takes to run.
#[derive(Serialize)]
pub struct Packed {
    arch: Arch,
    shortcut: Shortcut,
    #[serde(flatten)]
    kind: Kind,
    classes: usize,
    /// Height and width.
    image: [usize; 2],
    /// Whether it has the ranges of activations that integers need.
    calibrated: bool,
    file_bytes: u64,
    layers: Vec<Layer>,
    /// Multiplications of one image's forward pass that are a shift and an addition each, and those that stay.
    shift_adds: u64,
    multiply_adds: u64,
    memory: Vec<Memory>,
}

/// A convolution, or the classifier.
#[derive(Serialize)]
struct Layer {
    name: String,
    shape: Vec<usize>,
    discrete: bool,
    /// Of weights, scales and biases, in the file.
    bytes: usize,
    zeros: usize,
    /// How many weights have each value, from the smallest on, where they are discrete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<(f32, usize)>,
}

/// What one image takes.
#[derive(Serialize)]
struct Memory {
    arith: &'static str,
    #[serde(skip)]
    words: &'static str,
    #[serde(flatten)]
    needs: Needs,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Needs {
    /// The arithmetic cannot run it.
    Error(String),
    #[serde(untagged)]
    Bytes { bytes: u64, weight_bytes: u64 },
}

impl Packed {
    /// Reads a packed model and plans it.
    ///
    /// # Errors
    /// As [`packed::read`].
    pub fn read(path: &Path) -> Result<Packed> {
        let model = packed::read(path)?;
        let file_bytes = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?.len();
        let mut packed = Packed {
            arch: model.arch,
            shortcut: model.shortcut,
            kind: Kind::of(model.method),
            classes: model.input.classes.len(),
            image: model.input.image,
            calibrated: model.exponents.is_some(),
            file_bytes,
            layers: Vec::new(),
            shift_adds: 0,
            multiply_adds: 0,
            memory: Vec::new(),
        };
        packed.count(&model)?;
        for (arith, words, of) in
            [("float", "float", Arith::Float), ("shift8", "shift, 8 bits", Arith::Shift { bits: 8 })]
        {
            packed.memory.push(Memory { arith, words, needs: needs(&model, of) });
        }
        Ok(packed)
    }

    /// Adds up the layers of `model`.
    fn count(&mut self, model: &Model) -> Result<()> {
        let alphabet = model.method.family().alphabet();
        for node in &model.graph()?.nodes {
            let Some(conv) = model.convs.get(&node.name) else { continue };
            let zeros = conv.weight.iter().filter(|w| **w == 0.0).count();
            let products = (node.shape[0] * node.shape[1] * (conv.weight.len() - zeros)) as u64;
            *if conv.discrete { &mut self.shift_adds } else { &mut self.multiply_adds } += products;
            self.layers.push(Layer {
                name: node.name.clone(),
                shape: conv.shape.to_vec(),
                discrete: conv.discrete,
                bytes: packed::conv_bytes(conv, alphabet.as_ref()),
                zeros,
                values: if conv.discrete { values(&conv.weight) } else { vec![] },
            });
        }
        let [weight, bias] = &model.fc;
        self.multiply_adds += weight.len() as u64;
        self.layers.push(Layer {
            name: "fc".into(),
            shape: vec![bias.len(), weight.len() / bias.len().max(1)],
            discrete: false,
            bytes: 4 * (weight.len() + bias.len()),
            zeros: weight.iter().filter(|w| **w == 0.0).count(),
            values: vec![],
        });
        Ok(())
    }

    /// Prints it for people.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn print(&self) -> Result<()> {
        let [h, w] = self.image;
        print(&format!(
            "packed {} shortcut {:?}, {}: {} classes of {h} x {w} images, {}",
            self.arch,
            self.shortcut,
            self.kind.whole,
            self.classes,
            match self.calibrated {
                true => "with ranges of activations for integers",
                false => "without ranges of activations: f32 only",
            }
        ))?;
        let mut rows: Vec<Vec<String>> = self.layers.iter().map(Layer::row).collect();
        let bytes: usize = self.layers.iter().map(|layer| layer.bytes).sum();
        let weights: usize = self.layers.iter().map(Layer::weights).sum();
        let whole = format!("the file has {} bytes", self.file_bytes);
        let none = String::new;
        rows.push(vec!["total".into(), none(), bytes.to_string(), bits(bytes, weights), none(), whole]);
        print(&columns(&["layer", "shape", "bytes", "bits*", "zero", "weights by value"], 1..5, &rows))?;
        print("* bytes of weights, scales and biases, a weight")?;
        print(&format!(
            "A forward pass of one image: {} multiply-adds are a shift and an addition each (zeros need none), {} stay \
             multiply-adds",
            self.shift_adds, self.multiply_adds
        ))?;
        for Memory { words, needs, .. } in &self.memory {
            print(&match needs {
                Needs::Bytes { bytes, weight_bytes } => format!(
                    "Memory at one image, --arith {words}: {bytes} bytes, of which weights {weight_bytes}"
                ),
                Needs::Error(error) => format!("--arith {words} cannot run it: {error}"),
            })?;
        }
        Ok(())
    }
}

impl Layer {
    fn weights(&self) -> usize {
        self.shape.iter().product()
    }

    fn row(&self) -> Vec<String> {
        let values: Vec<String> =
            self.values.iter().map(|(value, count)| format!("{value}: {count}")).collect();
        vec![
            self.name.clone(),
            dimensions(&self.shape),
            self.bytes.to_string(),
            bits(self.bytes, self.weights()),
            percent(self.zeros, self.weights()),
            if self.discrete { values.join("  ") } else { "f32".into() },
        ]
    }
}

/// Bits a weight.
fn bits(bytes: usize, weights: usize) -> String {
    format!("{:.2}", 8.0 * bytes as f64 / weights.max(1) as f64)
}

fn needs(model: &Model, arith: Arith) -> Needs {
    let options = Options { batch: 1, arith, unpacked: false, capabilities: Target::host().capabilities() };
    match Inference::compile(model, options, &Choices::default()) {
        Ok(inference) => Needs::Bytes {
            bytes: lifetimes::assign(&inference.plan).bytes(),
            weight_bytes: inference.weight_bytes(),
        },
        Err(error) => Needs::Error(error.to_string()),
    }
}

/// How many weights have each value, from the smallest on.
fn values(weights: &[f32]) -> Vec<(f32, usize)> {
    let mut sorted = weights.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}
