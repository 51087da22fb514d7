//! The S³ weight (Li et al. 2021, section 3): w = sgn(w_sign) H(w_sparse) 2^S_T with S_0 = 0 and
//! S_t = H(w_t) (S_(t-1) + 1), trained with straight-through gradients.

use super::{InitName, WeightFamily};
use crate::error::Result;
use crate::kernels::Hyper;
use crate::kernels::s3_update::{self, Tensors};
use crate::plan::{Dispatch, View};
use crate::reference::s3_update::weight;
use crate::rng::Draws;

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

impl WeightFamily for S3 {
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

    fn weight(&self, latents: &[f32]) -> f32 {
        weight(latents)
    }

    fn update(&self, label: &str, hyper: Hyper, control: [View; 2], tensors: Tensors) -> Result<Dispatch> {
        s3_update::dispatch(label, self.shifts, hyper, control, tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabets() {
        assert_eq!([2, 3, 4, 5].map(shifts), [0, 2, 6, 14]);
        assert_eq!(latent_names(2), ["weight_sign", "weight_sparse", "weight_t1", "weight_t2"]);
        assert_eq!(weight(&[1.0; 16]), 16384.0);
    }
}
