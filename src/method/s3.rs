//! The S³ weight (Li et al. 2021, section 3): w = sgn(w_sign) H(w_sparse) 2^S_T with S_0 = 0 and
//! S_t = H(w_t) (S_(t-1) + 1), trained with straight-through gradients.

use super::gates::{self, power, sign};
use super::{Alphabet, Family, InitName};
use crate::rng::Draws;
use std::f32::consts::LN_2;

/// T, the number of shift latents, at `bits` of 2 to 5: 0, 2, 6, 14.
pub fn shifts(bits: u32) -> usize {
    (1 << (bits - 1)) - 2
}

/// Suffixes of the latents' names on disk: sign, sparse, t1 ... tT.
pub fn latent_names(shifts: usize) -> Vec<String> {
    let fixed = ["weight_sign".to_string(), "weight_sparse".to_string()];
    fixed.into_iter().chain((1..=shifts).map(|t| format!("weight_t{t}"))).collect()
}

/// The family at one number of shift latents.
pub struct S3 {
    /// T.
    pub shifts: usize,
}

impl S3 {
    /// At 2 to 5 bits.
    pub(crate) fn new(bits: u32) -> S3 {
        S3 { shifts: shifts(bits) }
    }
}

impl Family for S3 {
    fn kernel(&self) -> &'static str {
        "s3_update"
    }

    fn form(&self) -> u32 {
        self.shifts as u32
    }

    fn of_form(form: u32) -> S3 {
        S3 { shifts: form as usize }
    }

    fn latents(&self) -> Vec<String> {
        latent_names(self.shifts)
    }

    fn initial(&self, plane: usize, init: InitName, sigma: f32, draws: &mut Draws) -> f32 {
        let value = sigma * draws.normal();
        match (init, plane) {
            (InitName::Normal, _) | (InitName::Dense, 0) => value,
            (InitName::Dense, 1) => value.abs(),
            (InitName::Dense, _) => -value.abs(),
        }
    }

    fn weight(&self, latents: &[f32], _scale: f32) -> f32 {
        let magnitude = power(gates::shift(&latents[2..]));
        if latents[1] > 0.0 { sign(latents[0]) * magnitude } else { 0.0 }
    }

    fn gradients(&self, latents: &[f32], g: f32, alpha: f32, gradients: &mut [f32]) {
        let sign = sign(latents[0]);
        let dense = if latents[1] > 0.0 { 1.0 } else { 0.0 };
        let power = power(gates::shift(&latents[2..]));
        gradients[0] = g * dense * power;
        // The dense-weight regularizer, alpha max(0, -w_sparse).
        gradients[1] = g * sign * power - if latents[1] < 0.0 { alpha } else { 0.0 };
        gates::gradients(&latents[2..], g * sign * dense * power * LN_2, &mut gradients[2..]);
    }

    fn alphabet(&self) -> Option<Alphabet> {
        Some(Alphabet {
            bits: (self.shifts + 2).ilog2() + 1,
            zero: true,
            lowest: Some(0),
            levels: self.shifts as u32 + 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(latents: &[f32]) -> f32 {
        S3 { shifts: latents.len() - 2 }.weight(latents, 1.0)
    }

    #[test]
    fn alphabets() {
        assert_eq!([2, 3, 4, 5].map(shifts), [0, 2, 6, 14]);
        assert_eq!(latent_names(2), ["weight_sign", "weight_sparse", "weight_t1", "weight_t2"]);
        assert_eq!(weight(&[1.0; 16]), 16384.0);
    }

    /// All gate patterns at T = 2 by hand: S_2 = H(w_2) (H(w_1) + 1).
    #[test]
    fn weights_by_hand() {
        let cases = [
            ([0.5, 0.1, -1.0, -1.0], 1.0),
            ([0.5, 0.1, 1.0, -1.0], 1.0),
            ([0.5, 0.1, -1.0, 1.0], 2.0),
            ([0.5, 0.1, 1.0, 1.0], 4.0),
            ([-0.5, 0.1, 1.0, 1.0], -4.0),
            ([0.0, 0.1, 0.0, 1.0], 2.0),
            ([-0.5, 0.0, 1.0, 1.0], 0.0),
        ];
        for (latents, expected) in cases {
            assert_eq!(weight(&latents), expected, "{latents:?}");
            assert!(weight(&latents).is_sign_positive() || expected < 0.0, "zero is +0");
        }
    }

    /// The closed form at T = 2: dL/dw_2 = dS (S_1 + 1), dL/dw_1 = dS H(w_2), dS = g w ln 2.
    #[test]
    fn gradients_by_hand() {
        let mut d = [0.0; 4];
        let family = S3::new(3);
        family.gradients(&[-0.5, 0.1, 1.0, 1.0], 3.0, 0.5, &mut d);
        let ds = 3.0 * -4.0 * LN_2;
        assert_eq!(d, [12.0, -12.0, ds, ds * 2.0]);
        // A closed gate stops the gradient below it, but has one itself.
        family.gradients(&[0.5, 0.1, 1.0, -1.0], 3.0, 0.5, &mut d);
        let ds = 3.0 * LN_2;
        assert_eq!(d, [3.0, 3.0, 0.0, ds * 2.0]);
        // A weight that is zero still moves its sparsity latent, but neither sign nor shifts; the regularizer
        // pulls it up.
        family.gradients(&[-0.5, -0.1, 1.0, 1.0], 3.0, 0.5, &mut d);
        assert_eq!(d.map(f32::abs), [0.0, 12.5, 0.0, 0.0]);
    }
}
