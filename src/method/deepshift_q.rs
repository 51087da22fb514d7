//! The DeepShift-Q weight (Elhoushi et al. 2021): w = sgn(v) 2^round(log2 |v|) of a latent v whose magnitude is kept in
//! 2^-(2^(b-1) - 1) to 1. The gradient passes to v unchanged.

use super::{Alphabet, Family, InitName};
use crate::rng::Draws;

/// The family with its smallest power of two.
pub struct DeepShiftQ {
    /// The smallest weight is 2^-lowest.
    pub lowest: u32,
}

/// The fraction's bits of sqrt(2), rounded down: a magnitude m 2^e, 1 <= m < 2, has a logarithm above e + 1/2 where the bits
/// of m are more than these. No f32 lies on the border.
const ROOT_2: u32 = 0x3504f3;

/// 2^round(log2 x) of a normal x > 0.
pub fn nearest_power(x: f32) -> f32 {
    let bits = x.to_bits();
    let exponent = (bits >> 23) + u32::from(bits & 0x7f_ffff > ROOT_2);
    f32::from_bits(exponent << 23)
}

impl DeepShiftQ {
    /// At 2 to 6 bits.
    pub(crate) fn new(bits: u32) -> DeepShiftQ {
        DeepShiftQ { lowest: (1 << (bits - 1)) - 1 }
    }
}

impl Family for DeepShiftQ {
    fn kernel(&self) -> &'static str {
        "deepshift_q_update"
    }

    fn form(&self) -> u32 {
        self.lowest
    }

    fn of_form(form: u32) -> DeepShiftQ {
        DeepShiftQ { lowest: form }
    }

    fn latents(&self) -> Vec<String> {
        vec!["weight_q".into()]
    }

    fn initial(&self, _plane: usize, _init: InitName, sigma: f32, draws: &mut Draws) -> f32 {
        sigma * draws.normal()
    }

    fn adopt(&self, weight: f32) -> Option<Vec<f32>> {
        Some(vec![weight])
    }

    fn weight(&self, latents: &[f32], _scale: f32) -> f32 {
        let power = nearest_power(latents[0].abs());
        if latents[0] >= 0.0 { power } else { -power }
    }

    fn gradients(&self, _latents: &[f32], g: f32, _alpha: f32, gradients: &mut [f32]) {
        gradients[0] = g;
    }

    fn confine(&self, latents: &mut [f32]) {
        let size = latents[0].abs().clamp((-(self.lowest as f32)).exp2(), 1.0);
        latents[0] = if latents[0] >= 0.0 { size } else { -size };
    }

    fn alphabet(&self) -> Option<Alphabet> {
        Some(Alphabet {
            bits: (self.lowest + 1).ilog2() + 1,
            zero: false,
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
        let family = DeepShiftQ::new(3);
        let weight = |v: f32| {
            let mut latents = [v];
            family.confine(&mut latents);
            (latents[0], family.weight(&latents, 1.0))
        };
        assert_eq!(weight(0.7), (0.7, 0.5));
        // The border is the geometric mean: 0.7071.
        assert_eq!(weight(0.708), (0.708, 1.0));
        assert_eq!(weight(-0.3), (-0.3, -0.25));
        assert_eq!(weight(3.0), (1.0, 1.0));
        assert_eq!(weight(-0.01), (-0.125, -0.125));
        assert_eq!(weight(0.0), (0.125, 0.125));
        let mut d = [0.0];
        family.gradients(&[0.3], -2.5, 1.0, &mut d);
        assert_eq!(d, [-2.5]);
    }

    /// As the logarithm in f64 says, at the borders too.
    #[test]
    fn powers_are_the_nearest() {
        let check = |x: f32| {
            let expected = f64::from(x).log2().round().exp2();
            assert_eq!(f64::from(nearest_power(x)), expected, "{x:e}");
        };
        for exponent in -31..=1 {
            let border = (f64::from(exponent) + 0.5).exp2() as f32;
            for step in -3i32..=3 {
                check(f32::from_bits(border.to_bits().wrapping_add_signed(step)));
            }
        }
        (1..100_000u32).for_each(|i| check(i as f32 / 50_000.0));
    }
}
