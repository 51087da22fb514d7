//! Ternary weights (Li and Liu 2016): ±1 where |v| > 0.7 mean |v| over the layer, else 0. The gradient passes to v unchanged.

use super::{Alphabet, Family, InitName};
use crate::rng::Draws;

/// The family.
pub struct Ternary;

/// The threshold over the layer's mean magnitude.
const THRESHOLD: f32 = 0.7;

impl Family for Ternary {
    fn kernel(&self) -> &'static str {
        "ternary_update"
    }

    fn form(&self) -> u32 {
        0
    }

    fn of_form(_form: u32) -> Ternary {
        Ternary
    }

    fn latents(&self) -> Vec<String> {
        vec!["weight_ternary".into()]
    }

    fn initial(&self, _plane: usize, _init: InitName, sigma: f32, draws: &mut Draws) -> f32 {
        sigma * draws.normal()
    }

    fn adopt(&self, weight: f32) -> Option<Vec<f32>> {
        Some(vec![weight])
    }

    fn weight(&self, latents: &[f32], scale: f32) -> f32 {
        match latents[0] {
            v if v > scale => 1.0,
            v if v < -scale => -1.0,
            _ => 0.0,
        }
    }

    fn scale(&self, first: &[f32]) -> f32 {
        let sum: f64 = first.iter().map(|v| f64::from(v.abs())).sum();
        THRESHOLD * (sum / first.len().max(1) as f64) as f32
    }

    fn gradients(&self, _latents: &[f32], g: f32, _alpha: f32, gradients: &mut [f32]) {
        gradients[0] = g;
    }

    fn threshold(&self) -> Option<f32> {
        Some(THRESHOLD)
    }

    fn alphabet(&self) -> Option<Alphabet> {
        Some(Alphabet { bits: 2, zero: true, lowest: Some(0), levels: 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_by_hand() {
        // The mean magnitude is 1, so the border is 0.7.
        let latents = [0.69, -0.69, 0.71, -1.91, 0.0, 2.0];
        assert_eq!(super::super::weights(&Ternary, &[&latents]), [0.0, 0.0, 1.0, -1.0, 0.0, 1.0]);
        // A weight on the border is 0.
        assert_eq!([0.7, -0.7, 0.70001].map(|v| Ternary.weight(&[v], 0.7)), [0.0, 0.0, 1.0]);
        let mut d = [0.0];
        Ternary.gradients(&[0.3], -2.5, 1.0, &mut d);
        assert_eq!(d, [-2.5]);
    }
}
