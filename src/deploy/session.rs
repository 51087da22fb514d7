//! A model on an engine: loaded once, run as often as there are images.

use super::Model;
use super::compile::{Arith, Inference, Options};
use crate::engine::{Engine, Read, Target};
use crate::error::{Error, Result};
use crate::plan::List;

/// Opens `target` with the plan of `inference`, and writes its weights.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::Adapter`], [`Error::Gpu`].
pub fn load(inference: &Inference, target: &Target) -> Result<Box<dyn Engine>> {
    let mut engine = target.load(inference.plan.clone())?;
    for (view, words) in &inference.tables {
        engine.write(*view, bytemuck::cast_slice(words))?;
    }
    Ok(engine)
}

/// A model, ready to run.
pub struct Session {
    /// What runs.
    pub inference: Inference,
    /// With the model's weights.
    pub engine: Box<dyn Engine>,
    pub(crate) classes: usize,
    pub(crate) image_bytes: usize,
}

/// Logits on their way.
pub struct Logits {
    read: Read,
    len: usize,
    classes: usize,
}

impl Logits {
    /// The logits of each image, (classes) each, once they are there.
    ///
    /// # Errors
    /// What the adapter reported.
    pub fn take(&mut self) -> Result<Option<Vec<Vec<f32>>>> {
        let bytes = self.read.take()?;
        Ok(bytes.map(|bytes| rows(&bytes, self.classes, self.len)))
    }

    /// The same of a batch that has run.
    fn finish(self) -> Result<Vec<Vec<f32>>> {
        Ok(rows(&self.read.finish()?, self.classes, self.len))
    }
}

/// The first `len` rows (classes) of f32.
fn rows(bytes: &[u8], classes: usize, len: usize) -> Vec<Vec<f32>> {
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
    values.chunks_exact(classes).take(len).map(<[f32]>::to_vec).collect()
}

impl Session {
    /// Loads `model` onto `target` for batches of `batch` images.
    ///
    /// # Errors
    /// As [`Inference::compile`] and [`load`].
    pub fn new(model: &Model, arith: Arith, batch: usize, target: &Target) -> Result<Session> {
        let options = Options { batch, arith, unpacked: false, capabilities: target.capabilities() };
        Session::of(model, Inference::compile(model, options, target.choices())?, target)
    }

    /// Loads what was compiled of `model`.
    ///
    /// # Errors
    /// As [`load`].
    pub fn of(model: &Model, inference: Inference, target: &Target) -> Result<Session> {
        let engine = load(&inference, target)?;
        let (classes, image_bytes) = (model.input.classes.len(), model.input.image_bytes());
        Ok(Session { inference, engine, classes, image_bytes })
    }

    /// Images of a batch.
    pub fn batch(&self) -> usize {
        self.inference.options.batch
    }

    /// Begins to run `images` (n, 3, H, W) of bytes, n at most a batch. Does not wait: several may be on their way.
    ///
    /// # Errors
    /// [`Error::Usage`] for bytes that are no images, or too many; what the adapter reported.
    pub fn submit(&mut self, images: &[u8]) -> Result<Logits> {
        let len = images.len() / self.image_bytes;
        if len * self.image_bytes != images.len() || len > self.batch() {
            return Err(Error::Usage(format!(
                "{} bytes are not up to {} images of {} bytes",
                images.len(),
                self.batch(),
                self.image_bytes
            )));
        }
        self.inference.io.write_images(self.engine.as_mut(), images)?;
        self.engine.run(List::Evaluate)?;
        let read = self.engine.read(self.inference.logits)?;
        Ok(Logits { read, len, classes: self.classes })
    }

    /// The logits of `images` (n, 3, H, W) of bytes, for any n.
    ///
    /// # Errors
    /// As [`Session::submit`].
    pub fn run(&mut self, images: &[u8]) -> Result<Vec<Vec<f32>>> {
        let batches = images.chunks(self.batch() * self.image_bytes);
        let pending: Vec<Logits> = batches.map(|batch| self.submit(batch)).collect::<Result<_>>()?;
        self.engine.poll(true)?;
        let mut all = Vec::new();
        for logits in pending {
            all.extend(logits.finish()?);
        }
        Ok(all)
    }
}
