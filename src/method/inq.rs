//! Incremental network quantization (Zhou et al. 2017): of a trained network, the largest weights of each layer are fixed to the
//! nearest of 0, ±2^n, the others are trained on, and so on until all are fixed. n goes from n2 = n1 + 1 - 2^(b-2) to
//! n1 = floor(log2(4 max |w| / 3)).

use super::{Alphabet, Family, InitName};
use crate::rng::Draws;

/// The family. Its second latent is 1 where a weight is fixed, else 0.
pub struct Inq {
    pub(crate) bits: u32,
}

/// Shares of each layer's weights that are fixed, one stage after the other.
pub const SHARES: [f64; 4] = [0.5, 0.75, 0.875, 1.0];

/// The share that is fixed in `epoch` of `epochs`, which are cut into as many equal stages as there are shares.
pub fn share(epoch: u64, epochs: u64) -> f64 {
    let stages = SHARES.len() as u64;
    SHARES[(epoch * stages / epochs.max(1)).min(stages - 1) as usize]
}

/// n1 of a layer of zeros, and of one that is not finite.
const LEAST: f64 = -100.0;
const MOST: f64 = 127.0;

/// Powers of two beside 0 at `bits` of 3 to 5.
fn levels(bits: u32) -> i32 {
    1 << (bits - 2)
}

/// n1 of a layer whose largest magnitude is `most`.
pub fn largest(most: f32) -> i32 {
    (f64::from(most) * 4.0 / 3.0).log2().floor().clamp(LEAST, MOST) as i32
}

/// The nearest of 0, ±2^n2 ... ±2^n1: borders lie half-way between neighbours.
pub fn nearest(w: f32, n1: i32, bits: u32) -> f32 {
    let n2 = n1 + 1 - levels(bits);
    let size = f64::from(w.abs());
    let power = |n: i32| f64::from(n).exp2();
    if size.is_nan() || size < power(n2 - 1) {
        return 0.0;
    }
    // From the border below 2^n, 3/4 of it, on.
    let n = ((size * 4.0 / 3.0).log2().floor() as i32).clamp(n2, n1);
    (power(n) as f32).copysign(w)
}

/// Fixes the largest weights of a layer until `share` of them are fixed. A layer keeps its n1 from the first time on.
pub fn fix(weights: &mut [f32], fixed: &mut [f32], share: f64, bits: u32) {
    let most = |wanted: bool| {
        let of = weights.iter().zip(&*fixed).filter(|(_, fixed)| (**fixed > 0.0) == wanted);
        of.fold(0.0f32, |most, (w, _)| most.max(w.abs()))
    };
    // The largest weight is always among the fixed ones, as 2^n1, of which 4/3 has the same n1.
    let n1 = largest(if fixed.iter().any(|&f| f > 0.0) { most(true) } else { most(false) });
    let count = (share * weights.len() as f64).round() as usize;
    let already = fixed.iter().filter(|&&f| f > 0.0).count();
    let mut free: Vec<usize> = (0..weights.len()).filter(|&i| fixed[i] <= 0.0).collect();
    free.sort_by(|&a, &b| weights[b].abs().total_cmp(&weights[a].abs()).then(a.cmp(&b)));
    for &i in free.iter().take(count.saturating_sub(already)) {
        weights[i] = nearest(weights[i], n1, bits);
        fixed[i] = 1.0;
    }
}

impl Family for Inq {
    fn kernel(&self) -> &'static str {
        "inq_update"
    }

    fn form(&self) -> u32 {
        self.bits
    }

    fn of_form(form: u32) -> Inq {
        Inq { bits: form }
    }

    fn latents(&self) -> Vec<String> {
        ["weight_inq", "weight_fixed"].map(String::from).to_vec()
    }

    fn initial(&self, plane: usize, _init: InitName, sigma: f32, draws: &mut Draws) -> f32 {
        if plane == 0 { sigma * draws.normal() } else { 0.0 }
    }

    fn adopt(&self, weight: f32) -> Option<Vec<f32>> {
        Some(vec![weight, 0.0])
    }

    fn weight(&self, latents: &[f32], _scale: f32) -> f32 {
        latents[0]
    }

    fn gradients(&self, _latents: &[f32], g: f32, _alpha: f32, gradients: &mut [f32]) {
        gradients.copy_from_slice(&[g, 0.0]);
    }

    fn is_still(&self, latents: &[f32], plane: usize) -> bool {
        plane == 1 || latents[1] > 0.0
    }

    fn has_schedule(&self) -> bool {
        true
    }

    fn begin_epoch(&self, planes: &mut [Vec<f32>], epoch: u64, epochs: u64) {
        if let [weights, fixed] = planes {
            fix(weights, fixed, share(epoch, epochs), self.bits);
        }
    }

    fn is_final(&self, latents: &[f32]) -> bool {
        latents[1] > 0.0
    }

    fn alphabet(&self) -> Option<Alphabet> {
        Some(Alphabet { bits: self.bits, zero: true, lowest: None, levels: levels(self.bits) as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_by_hand() {
        // max |w| = 0.8: n1 = floor(log2(1.0667)) = 0; at 3 bits 0, ±1/2, ±1.
        assert_eq!([largest(0.8), largest(0.74), largest(1.49), largest(1.51)], [0, -1, 0, 1]);
        let of = |w| nearest(w, 0, 3);
        assert_eq!([of(0.8), of(-0.74), of(0.26), of(0.24), of(-5.0)], [1.0, -0.5, 0.5, 0.0, -1.0]);
        assert!(of(-0.1).is_sign_positive(), "zero is +0");
        // A border belongs to the larger of its neighbours.
        assert_eq!([of(0.25), of(-0.25), of(0.75)], [0.5, -0.5, 1.0]);
        // What a file may hold.
        for most in [0.0, f32::INFINITY, f32::MAX, 1e-45] {
            assert!(nearest(most, largest(most), 5).is_finite(), "{most}");
        }
        // A power of two is its own, however small.
        for bits in 3..=5 {
            for n in (3 - levels(bits) + 1)..=3 {
                let w = (n as f32).exp2();
                assert_eq!(nearest(w, 3, bits), w);
            }
            let below = ((3 - levels(bits)) as f32).exp2();
            assert_eq!(nearest(below * 0.99, 3, bits), 0.0);
        }
    }

    /// Of equals the first ones are fixed, and of half a weight a whole one.
    #[test]
    fn ties_are_fixed_in_the_order_of_places() {
        let mut fixed = [0.0; 5];
        fix(&mut [0.5, -0.5, 0.5, 0.5, -0.5], &mut fixed, 0.5, 3);
        assert_eq!(fixed, [1.0, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn shares_are_fixed_in_order() {
        let mut weights = [0.1, -0.8, 0.3, 0.05, -0.4, 0.2, 0.6, -0.01];
        let mut fixed = [0.0; 8];
        fix(&mut weights, &mut fixed, 0.5, 3);
        assert_eq!(fixed, [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(weights, [0.1, -1.0, 0.5, 0.05, -0.5, 0.2, 0.5, -0.01]);
        // What is free may grow past the first largest: n1 stays.
        weights[0] = 3.0;
        fix(&mut weights, &mut fixed, 0.75, 3);
        assert_eq!((weights[0], weights[5]), (1.0, 0.0));
        let before = (weights, fixed);
        fix(&mut weights, &mut fixed, 0.75, 3);
        assert_eq!((weights, fixed), before, "once is enough");
        fix(&mut weights, &mut fixed, 1.0, 3);
        assert_eq!(weights, [1.0, -1.0, 0.5, 0.0, -0.5, 0.0, 0.5, 0.0]);
        assert_eq!(
            [0, 4, 5, 9, 10, 14, 15, 19].map(|e| share(e, 20)),
            [0.5, 0.5, 0.75, 0.75, 0.875, 0.875, 1.0, 1.0]
        );
        assert_eq!([0, 1, 2, 3].map(|e| share(e, 4)), SHARES);
    }
}
