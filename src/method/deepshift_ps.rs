//! The DeepShift-PS weight (Elhoushi et al. 2021): w = sgn(round(s)) 2^round(p), 0 where s rounds to 0, of two latents, p kept in
//! -(2^(b-1) - 2) to 0. Halves round to even.

use super::{Alphabet, Family, InitName};
use crate::rng::Draws;
use std::f32::consts::LN_2;

/// The family with its smallest power of two.
pub struct DeepShiftPs {
    /// The smallest weight is 2^-lowest.
    pub lowest: u32,
}

impl DeepShiftPs {
    /// At 2 to 6 bits.
    pub(crate) fn new(bits: u32) -> DeepShiftPs {
        DeepShiftPs { lowest: (1 << (bits - 1)) - 2 }
    }
}

/// sgn(round(s)): 0 for |s| <= 1/2.
fn rounded_sign(s: f32) -> f32 {
    match s {
        _ if s > 0.5 => 1.0,
        _ if s < -0.5 => -1.0,
        _ => 0.0,
    }
}

impl Family for DeepShiftPs {
    fn kernel(&self) -> &'static str {
        "deepshift_ps_update"
    }

    fn form(&self) -> u32 {
        self.lowest
    }

    fn of_form(form: u32) -> DeepShiftPs {
        DeepShiftPs { lowest: form }
    }

    fn latents(&self) -> Vec<String> {
        ["weight_s", "weight_p"].map(String::from).to_vec()
    }

    fn initial(&self, plane: usize, _init: InitName, _sigma: f32, draws: &mut Draws) -> f32 {
        if plane == 0 { draws.range(-1.0, 1.0) } else { draws.range(-10.0, -1.0) }
    }

    fn adopt(&self, weight: f32) -> Option<Vec<f32>> {
        let sign = if weight == 0.0 { 0.0 } else { weight.signum() };
        Some(vec![sign, weight.abs().log2().max(-(self.lowest as f32))])
    }

    fn weight(&self, latents: &[f32], _scale: f32) -> f32 {
        match rounded_sign(latents[0]) {
            0.0 => 0.0,
            sign => sign * latents[1].round_ties_even().exp2(),
        }
    }

    fn gradients(&self, latents: &[f32], g: f32, _alpha: f32, gradients: &mut [f32]) {
        gradients[0] = g;
        gradients[1] = g * rounded_sign(latents[0]) * latents[1].round_ties_even().exp2() * LN_2;
    }

    fn confine(&self, latents: &mut [f32]) {
        latents[1] = latents[1].clamp(-(self.lowest as f32), 0.0);
    }

    fn alphabet(&self) -> Option<Alphabet> {
        Some(Alphabet {
            bits: (self.lowest + 2).ilog2() + 1,
            zero: true,
            lowest: Some(-(self.lowest as i32)),
            levels: self.lowest + 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_by_hand() {
        let family = DeepShiftPs::new(3);
        let weight = |s: f32, p: f32| {
            let mut latents = [s, p];
            family.confine(&mut latents);
            family.weight(&latents, 1.0)
        };
        assert_eq!([weight(0.6, -0.4), weight(-0.6, -0.6), weight(0.6, -7.0)], [1.0, -0.5, 0.25]);
        // Halves: 0.5 rounds to 0, -1.5 to -2, -0.5 to 0.
        assert_eq!([weight(0.5, -1.0), weight(1.0, -1.5), weight(-1.0, -0.5)], [0.0, 0.25, -1.0]);
        assert!(weight(-0.5, -1.0).is_sign_positive(), "zero is +0");
    }

    #[test]
    fn gradients_by_hand() {
        let family = DeepShiftPs::new(4);
        let mut d = [0.0; 2];
        family.gradients(&[-0.8, -2.2], 3.0, 1.0, &mut d);
        assert_eq!(d, [3.0, -0.75 * LN_2]);
        family.gradients(&[0.2, -2.2], 3.0, 1.0, &mut d);
        assert_eq!(d, [3.0, 0.0]);
    }
}
