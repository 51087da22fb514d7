//! The DenseShift weight (Li et al., ICCV 2023): w = sgn(w_sign) 2^S_T without a zero, T = 2^(b-1) - 1, whose latents have the
//! gradients of sgn(w_sign) sqrt(S_T + 1), so that large weights do not have large steps.

use super::gates::{self, power, sign};
use super::{Alphabet, Family, InitName};
use crate::rng::Draws;

/// The family at one number of shift latents.
pub struct DenseShift {
    /// T.
    pub shifts: usize,
}

impl DenseShift {
    /// At 2 to 5 bits.
    pub(crate) fn new(bits: u32) -> DenseShift {
        DenseShift { shifts: (1 << (bits - 1)) - 1 }
    }
}

impl Family for DenseShift {
    fn kernel(&self) -> &'static str {
        "denseshift_update"
    }

    fn form(&self) -> u32 {
        self.shifts as u32
    }

    fn of_form(form: u32) -> DenseShift {
        DenseShift { shifts: form as usize }
    }

    fn latents(&self) -> Vec<String> {
        std::iter::once("weight_sign".to_string())
            .chain((1..=self.shifts).map(|t| format!("weight_t{t}")))
            .collect()
    }

    fn initial(&self, plane: usize, init: InitName, sigma: f32, draws: &mut Draws) -> f32 {
        let value = sigma * draws.normal();
        if init == InitName::Normal || plane == 0 { value } else { -value.abs() }
    }

    fn weight(&self, latents: &[f32], _scale: f32) -> f32 {
        sign(latents[0]) * power(gates::shift(&latents[1..]))
    }

    fn gradients(&self, latents: &[f32], g: f32, _alpha: f32, gradients: &mut [f32]) {
        let root = (gates::shift(&latents[1..]) as f32 + 1.0).sqrt();
        gradients[0] = g * root;
        gates::gradients(&latents[1..], g * sign(latents[0]) * (0.5 / root), &mut gradients[1..]);
    }

    fn alphabet(&self) -> Option<Alphabet> {
        Some(Alphabet {
            bits: (self.shifts + 1).ilog2() + 1,
            zero: false,
            lowest: Some(0),
            levels: self.shifts as u32 + 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_by_hand() {
        let family = DenseShift::new(3);
        assert_eq!(family.latents(), ["weight_sign", "weight_t1", "weight_t2", "weight_t3"]);
        let weight = |latents: [f32; 4]| family.weight(&latents, 1.0);
        assert_eq!(weight([0.5, -1.0, -1.0, -1.0]), 1.0);
        assert_eq!(weight([-0.5, 1.0, -1.0, 1.0]), -2.0);
        assert_eq!(weight([0.0, 1.0, 1.0, 1.0]), 8.0);
    }

    /// The closed form: d sqrt(S + 1) / dS = 1 / (2 sqrt(S + 1)), and the gates' chain.
    #[test]
    fn gradients_by_hand() {
        let family = DenseShift::new(3);
        let mut d = [0.0; 4];
        family.gradients(&[-0.5, 1.0, 1.0, 1.0], 3.0, 0.5, &mut d);
        // S = 3, so the root is 2 and dS = -3 / 4.
        assert_eq!(d, [6.0, -0.75, -1.5, -2.25]);
        family.gradients(&[0.5, 1.0, 1.0, -1.0], 3.0, 0.5, &mut d);
        assert_eq!(d, [3.0, 0.0, 0.0, 4.5]);
    }

    /// As a derivative: where S is taken as a real number, the sign's and the shift's gradients are those of the function that
    /// stands for the weight.
    #[test]
    fn gradients_are_of_the_root() {
        let family = DenseShift::new(2);
        for (latents, s) in [([0.7f32, 0.3], 1.0f64), ([0.7, -0.3], 0.0)] {
            let mut d = [0.0; 2];
            family.gradients(&latents, 1.0, 0.0, &mut d);
            let h = 1e-6;
            let slope = ((s + h + 1.0).sqrt() - (s - h + 1.0).sqrt()) / (2.0 * h);
            assert!((f64::from(d[1]) - slope).abs() < 1e-6, "{d:?} {slope}");
            assert!((f64::from(d[0]) - (s + 1.0).sqrt()).abs() < 1e-6, "{d:?}");
        }
    }
}
