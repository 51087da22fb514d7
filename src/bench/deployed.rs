//! Networks as they are deployed: folded, packed, and with integers.

use super::runs::{Runner, Work};
use super::{feed, network};
use crate::data::{Dataset, Input};
use crate::deploy::compile::{Inference, Options};
use crate::deploy::{Arith, Model, calibrate, fold, session};
use crate::engine::Target;
use crate::error::Result;
use crate::method::{InitName, Method};
use crate::model::{Arch, Shortcut, state, weights};
use crate::rng::{Draws, Stream};
use std::path::Path;
use std::sync::Arc;

/// The forms of a network with discrete weights: as records call it, and how it is compiled.
const FORMS: [(&str, Arith); 4] = [
    ("fp32 packed", Arith::Float),
    ("int8 dp4a", Arith::Dp4a),
    ("int8 shift", Arith::Shift { bits: 8 }),
    ("int16 shift", Arith::Shift { bits: 16 }),
];

/// `arch` in each form that each of `methods` has.
///
/// # Errors
/// [`crate::Error::TooLarge`], [`crate::Error::Adapter`] or [`crate::Error::Gpu`] where it does not fit.
pub(super) fn load(arch: Arch, methods: &[Method], batch: usize, target: &Target) -> Result<Vec<Runner>> {
    let mut runners = Vec::new();
    for &method in methods {
        // The weights of more bits have no codes of 4.
        let forms: &[_] = match method.is_discrete() {
            false => &[("fp32 folded", Arith::Float)],
            true if method.bits <= 4 => &FORMS,
            true => &[],
        };
        let model = model(arch, method, target)?;
        for &(precision, arith) in forms {
            let options = Options { batch, arith, unpacked: false, capabilities: target.capabilities() };
            let inference = Inference::compile(&model, options, target.choices())?;
            let mut engine = session::load(&inference, target)?;
            feed(engine.as_mut(), &inference.io, model.input.classes.len(), 1)?;
            let io = inference.io;
            runners.push(Runner { engine, io, method, work: Work::Infer, precision, step: 0 });
        }
    }
    Ok(runners)
}

/// A model of initial weights, whose scales keep activations in the range of its images.
fn model(arch: Arch, method: Method, target: &Target) -> Result<Model> {
    let network = network(arch, method, 1, true, &Target::host())?;
    let plain = weights::discretize(state::initial(&network, InitName::Normal, 1))
        .expect("initial tensors are complete");
    let classes = (0..network.graph.classes()).map(|class| class.to_string()).collect();
    let input = Input { classes, image: network.graph.image(), mean: [0.5; 3], std: [0.25; 3] };
    let mut model = fold::fold((arch, Shortcut::B), method, input, (Path::new("initial weights"), &plain))?;
    for conv in model.convs.values_mut() {
        for (k, scale) in conv.scale.iter_mut().enumerate() {
            let row = conv.weight.len() / conv.shape[0];
            let squares: f32 = conv.weight[k * row..][..row].iter().map(|w| w * w).sum();
            *scale = 1.0 / squares.max(1e-6).sqrt();
        }
    }
    if method.is_discrete() {
        calibrate::calibrate(&mut model, Arc::new(Noise { len: 8 }), target)?;
    }
    Ok(model)
}

/// Random images.
struct Noise {
    len: usize,
}

impl Dataset for Noise {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32> {
        let mut draws = Draws::new(1, Stream::Synthetic, index as u32, 1);
        pixels.iter_mut().for_each(|pixel| *pixel = draws.below(256) as u8);
        Ok(0)
    }
}
