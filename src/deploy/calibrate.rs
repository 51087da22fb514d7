//! Ranges of activations, measured on images.

use super::Model;
use super::compile::{Arith, Inference, Options};
use super::session;
use crate::data::{Batch, Dataset, Reading};
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::plan::List;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Images that ranges are measured on, where there are as many.
pub const IMAGES: usize = 512;
const BATCH: usize = 64;

/// Binades that are told apart: magnitudes from 2^-32 to 2^32.
const BINADES: usize = 64;
const LOWEST: i32 = -32;

/// Magnitudes of a tensor's values by binade: how many, their sum, the sum of their squares.
#[derive(Clone, Debug)]
pub struct Magnitudes {
    binades: [[f64; 3]; BINADES],
}

impl Default for Magnitudes {
    fn default() -> Self {
        Magnitudes { binades: [[0.0; 3]; BINADES] }
    }
}

impl Magnitudes {
    /// Adds `values`, of which those count that are finite and not 0.
    pub fn add(&mut self, values: &[f32]) {
        for value in values.iter().filter(|v| **v != 0.0 && v.is_finite()) {
            let magnitude = f64::from(value.abs());
            let binade = (magnitude.log2().floor() as i32 - LOWEST).clamp(0, BINADES as i32 - 1);
            let [count, sum, squares] = &mut self.binades[binade as usize];
            *count += 1.0;
            *sum += magnitude;
            *squares += magnitude * magnitude;
        }
    }

    /// The exponent e at which integers of `bits`, each q 2^-e, miss the values by least: squared, what is cut off where they
    /// are too large, and 2^(-2e) / 12 for the rounding of each that is not 0.
    pub fn exponent(&self, bits: u32) -> i32 {
        let largest = self.binades.iter().rposition(|b| b[0] > 0.0).map_or(0, |i| i as i32 + LOWEST + 1);
        let count: f64 = self.binades.iter().map(|b| b[0]).sum();
        // At `first` nothing is cut off.
        let first = bits as i32 - 1 - largest;
        let error = |e: i32| {
            let limit = 2f64.powi(bits as i32 - 1 - e);
            let above = self.binades.iter().skip((bits as i32 - 1 - e - LOWEST).max(0) as usize);
            let cut: f64 =
                above.map(|[n, sum, squares]| squares - 2.0 * limit * sum + n * limit * limit).sum();
            cut + count * 4f64.powi(-e) / 12.0
        };
        (first..first + 8).min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(first)
    }
}

/// Measures the exponents of `model` on the first [`IMAGES`] of `dataset`, in its f32 arithmetic on `target`.
///
/// # Errors
/// [`Error::Data`] where it has no images; what the engine and the dataset report.
pub fn calibrate(model: &mut Model, dataset: Arc<dyn Dataset>, target: &Target) -> Result<()> {
    if dataset.is_empty() {
        return Err(Error::data(
            "the dataset",
            "has no images to calibrate on",
            "Give some of those that were trained on",
        ));
    }
    let options = Options {
        batch: BATCH.min(dataset.len()),
        arith: Arith::Float,
        unpacked: false,
        capabilities: target.capabilities(),
    };
    let inference = Inference::compile(model, options, target.choices())?;
    let mut engine = session::load(&inference, target)?;
    let mut found: BTreeMap<String, Magnitudes> = BTreeMap::new();
    let bytes = model.input.image_bytes();
    let images = IMAGES.min(dataset.len());
    for first in (0..images).step_by(options.batch) {
        let count = options.batch.min(images - first);
        let numbers: Vec<u32> = (first as u32..(first + count) as u32).collect();
        let batch = Batch::read(dataset.as_ref(), &numbers, Reading::plain(bytes))?;
        inference.io.write_images(engine.as_mut(), &batch.images)?;
        let mut next = 0;
        for (name, dispatch, view) in &inference.activations {
            // Later dispatches may write where this layer's output is.
            engine.run_part(List::Evaluate, next..dispatch + 1)?;
            next = dispatch + 1;
            let values = engine.fetch_f32(*view)?;
            let len = values.len() / options.batch * count;
            found.entry(name.clone()).or_default().add(&values[..len]);
        }
    }
    let exponents = found.into_iter().map(|(name, m)| (name, [m.exponent(8), m.exponent(16)])).collect();
    model.exponents = Some(exponents);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_the_values() {
        let mut m = Magnitudes::default();
        m.add(&(0..1000).map(|i| i as f32 * 0.004).collect::<Vec<_>>());
        // Up to 3.996: 127 units of 2^-5.
        assert_eq!(m.exponent(8), 5);
        assert_eq!(m.exponent(16), 13);
        // One value far outside weighs more than what others lose by it.
        m.add(&[30.0]);
        assert_eq!(m.exponent(16), 10);
        // Cut to 2 it costs 210, and the rounding of the others 20; cut to 4, 156 and 81.
        let mut m = Magnitudes::default();
        m.add(&vec![1.1; 1_000_000]);
        m.add(&[16.5]);
        assert_eq!(m.exponent(8), 6);
        // Of 20, 324 and 256 beside the same: the coarser one is better, by 7 of 340.
        let mut m = Magnitudes::default();
        m.add(&vec![1.1; 1_000_000]);
        m.add(&[20.0]);
        assert_eq!(m.exponent(8), 5);
        assert_eq!(Magnitudes::default().exponent(8), 7);
    }
}
