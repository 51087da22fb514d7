//! Benchmarks: the adapter's ceilings, each kernel at the shapes of real networks, training steps, evaluations, and
//! how they scale. It measures and returns data; [`table`] turns that into text.

pub mod ceilings;
pub mod check;
pub mod compare;
pub mod data;
mod deployed;
mod host;
pub mod kernels;
pub mod profile;
pub mod record;
pub mod runs;
pub mod scale;
pub mod table;

use crate::engine::{Engine, Target};
use crate::error::Result;
use crate::kernels::choose::Choices;
use crate::kernels::{Hyper, Step};
use crate::method::Method;
use crate::model::compile::Io;
use crate::model::{Arch, Network, Options, Shortcut};
use crate::rng::{Draws, Stream};

/// Where a benchmark says what it is about to do.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Seconds for a kernel; networks get [`Budget::RUN`] times that.
    pub seconds: f64,
}

impl Budget {
    /// Samples that a median should have, where the time allows.
    pub const ENOUGH: usize = 20;
    /// Samples that it has whatever they take.
    pub const LEAST: usize = 3;
    /// Seconds for a network's steps, over those for a kernel.
    pub const RUN: f64 = 30.0;

    /// Whether `samples` that took `elapsed` seconds are all that there is time for.
    pub fn is_spent(self, samples: usize, elapsed: f64) -> bool {
        (samples >= Self::ENOUGH && elapsed >= self.seconds / 10.0)
            || (samples >= Self::LEAST && elapsed >= self.seconds)
    }

    /// For reading images.
    pub fn of_data(self) -> Budget {
        Budget { seconds: self.seconds * 3.0 }
    }

    /// For a network's steps.
    pub fn of_run(self) -> Budget {
        Budget { seconds: self.seconds * Self::RUN }
    }
}

/// Side of the images of `arch`, and its classes: those of CIFAR-10 or ImageNet.
fn images(arch: Arch) -> (usize, usize) {
    if arch.is_imagenet() { (224, 1000) } else { (32, 10) }
}

/// `arch` at `batch` images, planned for `target` by its choices.
pub fn network(arch: Arch, method: Method, batch: usize, train: bool, target: &Target) -> Result<Network> {
    network_with(arch, method, batch, train, (target, target.choices()))
}

/// [`network`], with kernels' variants by `choices`.
fn network_with(
    arch: Arch,
    method: Method,
    batch: usize,
    train: bool,
    (target, choices): (&Target, &Choices),
) -> Result<Network> {
    let (side, classes) = images(arch);
    let options = Options {
        method,
        micro_batch: batch,
        batch,
        hyper: Hyper { momentum: 0.9, weight_decay: 1e-4, alpha: 1e-5 },
        label_smoothing: 0.0,
        mean: [0.5; 3],
        std: [0.25; 3],
        capabilities: target.capabilities(),
        train,
    };
    let network = Network::compile_with(arch.build(Shortcut::B, [side, side], classes)?, options, choices)?;
    network.plan.check_limit(target.max_binding(), &target.info().name)?;
    Ok(network)
}

/// Writes random images and labels of `classes` as training step `step`.
pub fn feed(engine: &mut dyn Engine, io: &Io, classes: usize, step: u32) -> Result<()> {
    let mut draws = Draws::new(1, Stream::Synthetic, step, 0);
    let images: Vec<u32> = (0..io.images.len).map(|_| draws.bits()).collect();
    let labels: Vec<u32> = (0..io.labels.len).map(|_| draws.below(classes as u32)).collect();
    engine.write(io.images, bytemuck::cast_slice(&images))?;
    engine.write(io.labels, bytemuck::cast_slice(&labels))?;
    begin_step(engine, io, step)
}

/// Writes what tells training step `step` from others.
fn begin_step(engine: &mut dyn Engine, io: &Io, step: u32) -> Result<()> {
    let rows = crate::kernels::softmax_cross_entropy::ROWS as u32;
    // A small rate: random labels teach nothing, and the weights should stay what they were.
    let header = Step { step, slot: step % rows, seed: [1, 2], lr: 1e-3, augment: 1, ..Step::default() };
    engine.write(io.step, bytemuck::bytes_of(&header))
}
