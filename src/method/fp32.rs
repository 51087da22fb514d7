//! Full precision: the weight is its latent. The baseline of every family, with the same kernels and the same counters.

use super::{Alphabet, Family, InitName};
use crate::rng::Draws;

/// The family.
pub struct Fp32;

impl Family for Fp32 {
    fn kernel(&self) -> &'static str {
        "fp32_update"
    }

    fn form(&self) -> u32 {
        0
    }

    fn of_form(_form: u32) -> Fp32 {
        Fp32
    }

    fn latents(&self) -> Vec<String> {
        vec!["weight".into()]
    }

    fn initial(&self, _plane: usize, _init: InitName, sigma: f32, draws: &mut Draws) -> f32 {
        sigma * draws.normal()
    }

    fn adopt(&self, weight: f32) -> Option<Vec<f32>> {
        Some(vec![weight])
    }

    fn weight(&self, latents: &[f32], _scale: f32) -> f32 {
        latents[0]
    }

    fn gradients(&self, _latents: &[f32], g: f32, _alpha: f32, gradients: &mut [f32]) {
        gradients[0] = g;
    }

    fn alphabet(&self) -> Option<Alphabet> {
        None
    }
}
