//! What the discrete weights look like, and where a number first is not finite.

use super::events::{Layer, Weights};
use crate::engine::Engine;
use crate::error::Result;
use crate::model::Network;
use crate::plan::{Elem, List, Role};

/// Sparsity and shifts of discrete weights, with `flips` sign changes over `steps` steps.
pub fn weights(values: &[f32], shifts: usize, flips: u64, steps: u64) -> Weights {
    let mut shift_histogram = vec![0; shifts + 1];
    let mut zeros = 0;
    for &w in values {
        match w == 0.0 {
            true => zeros += 1,
            false => shift_histogram[w.abs().log2().round() as usize] += 1,
        }
    }
    let chances = values.len() as f64 * steps as f64;
    Weights {
        sign_flip_rate: if chances > 0.0 { flips as f64 / chances } else { 0.0 },
        sparsity: zeros as f64 / values.len().max(1) as f64,
        shift_histogram,
    }
}

/// All layers together: `layers` with the number of weights of each.
pub fn total(layers: &[Layer], sizes: &[usize]) -> Option<Weights> {
    let first = layers.first()?;
    let all: usize = sizes.iter().sum();
    let mean = |value: fn(&Weights) -> f64| {
        layers.iter().zip(sizes).map(|(l, &n)| value(&l.weights) * n as f64).sum::<f64>() / all as f64
    };
    let mut shift_histogram = vec![0; first.weights.shift_histogram.len()];
    for layer in layers {
        for (sum, n) in shift_histogram.iter_mut().zip(&layer.weights.shift_histogram) {
            *sum += n;
        }
    }
    let (sign_flip_rate, sparsity) = (mean(|w| w.sign_flip_rate), mean(|w| w.sparsity));
    Some(Weights { sign_flip_rate, sparsity, shift_histogram })
}

/// Runs the forward list dispatch by dispatch and names the first tensor that is not finite. The inputs of
/// the step are on the engine.
pub fn first_not_finite(engine: &mut dyn Engine, network: &Network) -> Result<Option<String>> {
    let plan = network.plan.clone();
    for (i, buffer) in plan.buffers.iter().enumerate() {
        if buffer.role == Role::Parameter && buffer.elem == Elem::F32 {
            let place = |t: &&crate::model::params::Tensor| t.place.iter().any(|v| v.buffer.0 == i);
            for tensor in network.store.tensors.iter().filter(place) {
                for &view in &tensor.place {
                    if engine.fetch_f32(view)?.iter().any(|x| !x.is_finite()) {
                        return Ok(Some(tensor.name.clone()));
                    }
                }
            }
        }
    }
    for (i, dispatch) in plan.list(List::Forward).iter().enumerate() {
        engine.run_part(List::Forward, i..i + 1)?;
        for &view in &dispatch.views {
            let buffer = &plan.buffers[view.buffer.0];
            if buffer.role == Role::Scratch
                && buffer.elem == Elem::F32
                && engine.fetch_f32(view)?.iter().any(|x| !x.is_finite())
            {
                return Ok(Some(buffer.name.clone()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_by_hand() {
        let w = weights(&[0.0, 1.0, -1.0, 4.0, -2.0, 0.0, 0.0, 1.0], 2, 4, 10);
        assert_eq!(w, Weights { sign_flip_rate: 0.05, sparsity: 0.375, shift_histogram: vec![3, 1, 1] });
        let other = weights(&[0.0, 2.0], 2, 0, 10);
        let layers = [w, other].map(|weights| Layer { name: String::new(), weights });
        let all = total(&layers, &[8, 2]).expect("two layers");
        assert!((all.sparsity - 0.4).abs() < 1e-12 && (all.sign_flip_rate - 0.04).abs() < 1e-12);
        assert_eq!(all.shift_histogram, [3, 2, 1]);
    }
}
