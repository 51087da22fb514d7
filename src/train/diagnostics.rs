//! What the weights look like and how they move, and where a number first is not finite.

use super::events::{Layer, Weights};
use crate::engine::Engine;
use crate::error::Result;
use crate::kernels::latent_update::COUNTERS;
use crate::method::{self, Family};
use crate::model::Network;
use crate::plan::{Elem, List, Role};
use std::collections::BTreeMap;

/// What there is to know of one layer's weights, or of several one after the other.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub weights: Vec<f32>,
    /// The step at which each weight's sign last flipped, 0 where it never did.
    pub last_flip: Vec<f32>,
    /// What changed in the epoch, as the kernels count it.
    pub changes: [u64; COUNTERS],
    /// See [`Weights::gradient_norms`].
    pub gradient_norms: BTreeMap<String, f64>,
    /// The latents, plane by plane.
    pub latents: Vec<Vec<f32>>,
}

/// The state of the weights of `sample` of `family` after step `now`, `steps` of which are this epoch's.
pub fn weights(family: &dyn Family, sample: &Sample, now: u64, steps: u64) -> Weights {
    let Sample { weights, last_flip, changes, .. } = sample;
    let len = weights.len().max(1) as f64;
    let chances = weights.len() as f64 * steps as f64;
    let rate = |count: u64| if chances > 0.0 { count as f64 / chances } else { 0.0 };
    let flipped = last_flip.iter().filter(|step| **step > 0.0);
    let mut since: Vec<u64> = flipped.map(|&step| now.saturating_sub(step as u64)).collect();
    since.sort_unstable();
    let quartiles = (!since.is_empty()).then(|| [1, 2, 3].map(|i| since[since.len() * i / 4]));
    let (finished, real) = finished(family, sample);
    Weights {
        sign_flip_rate: rate(changes[0]),
        sparsity: weights.iter().filter(|w| **w == 0.0).count() as f64 / len,
        shift_histogram: histogram(family, &finished),
        real: real.iter().filter(|w| **w != 0.0).count() as f64 / len,
        zero_change_rate: rate(changes[1]),
        shift_change_rate: rate(changes[2]),
        steps_since_flip: quartiles,
        never_flipped: last_flip.iter().filter(|step| **step == 0.0).count() as f64 / len,
        gradient_norms: sample.gradient_norms.clone(),
    }
}

/// The weights of `sample` that are final, and those that are not yet.
fn finished(family: &dyn Family, sample: &Sample) -> (Vec<f32>, Vec<f32>) {
    if !family.has_schedule() {
        return (sample.weights.clone(), vec![]);
    }
    let planes: Vec<&[f32]> = sample.latents.iter().map(Vec::as_slice).collect();
    let (mut last, mut real) = (vec![], vec![]);
    for (&weight, is_final) in sample.weights.iter().zip(method::are_final(family, &planes)) {
        if is_final { last.push(weight) } else { real.push(weight) }
    }
    (last, real)
}

/// How many of a layer's weights are ±1, ±2, ±4 ... times its smallest power of two.
fn histogram(family: &dyn Family, weights: &[f32]) -> Vec<u64> {
    let Some(alphabet) = family.alphabet() else { return vec![] };
    let mut histogram = vec![0; alphabet.levels as usize];
    for level in alphabet.scaled(weights).0.into_iter().filter_map(|w| alphabet.level(w)) {
        histogram[level as usize] += 1;
    }
    histogram
}

/// The L2 norms of what dL/dw, `dw`, gives the latents `planes` of `family`, by their names on disk.
pub fn gradient_norms(family: &dyn Family, planes: &[Vec<f32>], dw: &[f32]) -> BTreeMap<String, f64> {
    let [mut latents, mut gradients] = [0; 2].map(|_| vec![0.0; planes.len()]);
    let mut squares = vec![0.0; planes.len()];
    for (i, &g) in dw.iter().enumerate() {
        latents.iter_mut().zip(planes).for_each(|(latent, plane)| *latent = plane[i]);
        family.gradients(&latents, g, 0.0, &mut gradients);
        for (plane, (square, &gradient)) in squares.iter_mut().zip(&gradients).enumerate() {
            if !family.is_still(&latents, plane) {
                *square += f64::from(gradient).powi(2);
            }
        }
    }
    family.latents().into_iter().zip(squares.into_iter().map(f64::sqrt)).collect()
}

/// All layers together: `layers` with what they were made of.
pub fn total(layers: &[Layer], samples: &[Sample], now: u64, steps: u64) -> Option<Weights> {
    let first = &layers.first()?.weights;
    // What is a number a weight is counted again; the rest adds up.
    let mut all = Sample::default();
    for sample in samples {
        all.weights.extend(&sample.weights);
        all.last_flip.extend(&sample.last_flip);
        all.changes.iter_mut().zip(sample.changes).for_each(|(all, own)| *all += own);
    }
    let mut shift_histogram = vec![0; first.shift_histogram.len()];
    let mut real = 0.0;
    let mut gradient_norms = BTreeMap::<String, f64>::new();
    for (Layer { weights, .. }, sample) in layers.iter().zip(samples) {
        real += weights.real * sample.weights.len() as f64 / all.weights.len().max(1) as f64;
        shift_histogram.iter_mut().zip(&weights.shift_histogram).for_each(|(sum, n)| *sum += n);
        for (name, norm) in &weights.gradient_norms {
            let all = gradient_norms.entry(name.clone()).or_default();
            *all = all.hypot(*norm);
        }
    }
    let plain = weights(&crate::method::fp32::Fp32, &all, now, steps);
    Some(Weights { shift_histogram, real, gradient_norms, ..plain })
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
    use crate::method::s3::S3;

    #[test]
    fn counted_by_hand() {
        let family = S3::new(3);
        let sample = Sample {
            weights: vec![0.0, 1.0, -1.0, 4.0, -2.0, 0.0, 0.0, 1.0],
            last_flip: vec![0.0, 10.0, 3.0, 0.0, 9.0, 8.0, 0.0, 1.0],
            changes: [4, 8, 2],
            latents: vec![],
            // All three weights are 0, so that only sparsity has a gradient: 4 g.
            gradient_norms: gradient_norms(
                &family,
                &[vec![1.0; 3], vec![-1.0; 3], vec![1.0; 3], vec![1.0; 3]],
                &[3.0, 0.0, 4.0],
            ),
        };
        let w = weights(&family, &sample, 10, 10);
        assert_eq!((w.sign_flip_rate, w.zero_change_rate, w.shift_change_rate), (0.05, 0.1, 0.025));
        assert_eq!((w.sparsity, w.shift_histogram.clone()), (0.375, vec![3, 1, 1]));
        // 0 1 2 7 9
        assert_eq!((w.steps_since_flip, w.never_flipped), (Some([1, 2, 7]), 0.375));
        let norms: Vec<f64> = w.gradient_norms.values().copied().collect();
        assert_eq!((norms, w.gradient_norms["weight_sparse"]), (vec![0.0, 20.0, 0.0, 0.0], 20.0));

        let small = Sample { weights: vec![0.0, 2.0], last_flip: vec![0.0; 2], ..sample.clone() };
        let other = weights(&family, &small, 10, 10);
        assert_eq!((other.steps_since_flip, other.never_flipped), (None, 1.0));
        let layers = [w, other].map(|weights| Layer { name: String::new(), weights });
        let all = total(&layers, &[sample, small], 10, 10).expect("two layers");
        assert!((all.sparsity - 0.4).abs() < 1e-12 && (all.sign_flip_rate - 0.08).abs() < 1e-12);
        assert_eq!((all.shift_histogram, all.never_flipped), (vec![3, 2, 1], 0.5));
        assert!((all.gradient_norms["weight_sparse"] - 20.0 * 2f64.sqrt()).abs() < 1e-9);
    }

    /// Weights that are still real move no level, however large, and are counted apart.
    #[test]
    fn weights_that_are_not_fixed_are_no_powers_of_two() {
        let sample = Sample {
            weights: vec![8.0, 0.5, -0.25, 0.0, 0.3, 0.5, 0.25, 0.5],
            last_flip: vec![0.0; 8],
            latents: vec![vec![], vec![0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0]],
            ..Sample::default()
        };
        let sample = Sample { latents: vec![sample.weights.clone(), sample.latents[1].clone()], ..sample };
        let w = weights(&crate::method::inq::Inq { bits: 3 }, &sample, 1, 1);
        assert_eq!((w.shift_histogram.clone(), w.sparsity, w.real), (vec![2, 2], 0.125, 0.375));
        // With a layer of two weights, of which one is real: 4 of 10.
        let small = Sample {
            weights: vec![0.5, 0.3],
            last_flip: vec![0.0; 2],
            latents: vec![vec![0.5, 0.3], vec![1.0, 0.0]],
            ..Sample::default()
        };
        let other = weights(&crate::method::inq::Inq { bits: 3 }, &small, 1, 1);
        assert_eq!((other.shift_histogram.clone(), other.real), (vec![0, 1], 0.5));
        let layers = [w, other].map(|weights| Layer { name: String::new(), weights });
        let all = total(&layers, &[sample, small], 1, 1).expect("two layers");
        assert_eq!((all.shift_histogram, all.sparsity, all.real), (vec![2, 3], 0.1, 0.4));
    }

    /// The gradient of a weight that is fixed moves nothing, and counts for nothing. What changed is of the epoch's steps.
    #[test]
    fn what_moves_alone_is_measured() {
        let family = crate::method::inq::Inq { bits: 3 };
        let latents = vec![vec![0.5, 0.3], vec![1.0, 0.0]];
        let sample = Sample {
            weights: vec![0.5, 0.3],
            last_flip: vec![0.0; 2],
            changes: [1, 0, 2],
            gradient_norms: gradient_norms(&family, &latents, &[3.0, -4.0]),
            latents,
        };
        let w = weights(&family, &sample, 1, 1);
        let norms = ["weight_inq", "weight_fixed"].map(|latent| w.gradient_norms[latent]);
        assert_eq!((norms, w.gradient_norms.len()), ([4.0, 0.0], 2));
        // An epoch of one step, and one of none.
        assert_eq!((w.sign_flip_rate, w.zero_change_rate, w.shift_change_rate), (0.5, 0.0, 1.0));
        assert_eq!(weights(&family, &sample, 1, 0).sign_flip_rate, 0.0);
    }

    /// Powers of two below 1 count from the smallest.
    #[test]
    fn shifts_count_from_the_smallest_power() {
        let family = crate::method::deepshift_q::DeepShiftQ::new(3);
        assert_eq!(histogram(&family, &[0.125, -1.0, 0.5, 0.125]), [2, 0, 1, 1]);
        assert_eq!(histogram(&crate::method::fp32::Fp32, &[0.3]), Vec::<u64>::new());
    }
}
