//! CPU twin of `shaders/s3_update.wgsl`, with the S³ weight and its gradients for one weight.

use crate::kernels::Step;
use crate::kernels::s3_update::Params;

/// S_T of the shift latents w_1 ... w_T: the number of open gates (w_t > 0) that end the sequence.
pub fn shift(gates: &[f32]) -> u32 {
    gates.iter().fold(0, |s, &w| if w > 0.0 { s + 1 } else { 0 })
}

/// The discrete weight of one weight's latents (sign, sparse, t1 ... tT). Zero is +0.
pub fn weight(latents: &[f32]) -> f32 {
    let magnitude = (1u64 << shift(&latents[2..])) as f32;
    match (latents[1] > 0.0, latents[0] >= 0.0) {
        (false, _) => 0.0,
        (true, true) => magnitude,
        (true, false) => -magnitude,
    }
}

/// The straight-through gradients of one weight's latents for g = dL/dw, without the regularizer:
/// H and sgn pass the gradient unchanged.
pub fn latent_gradients(latents: &[f32], g: f32, gradients: &mut [f32]) {
    let sign = if latents[0] >= 0.0 { 1.0 } else { -1.0 };
    let dense = if latents[1] > 0.0 { 1.0 } else { 0.0 };
    let gates = &latents[2..];
    let power = (1u64 << shift(gates)) as f32;
    gradients[0] = g * dense * power;
    gradients[1] = g * sign * power;
    let mut ds = g * sign * dense * power * std::f32::consts::LN_2;
    for t in (0..gates.len()).rev() {
        gradients[2 + t] = ds * (shift(&gates[..t]) as f32 + 1.0);
        ds = if gates[t] > 0.0 { ds } else { 0.0 };
    }
}

/// One step of every latent, the new weights, and the signs flipped in each layer.
#[allow(clippy::too_many_arguments)]
pub fn s3_update(
    p: &Params,
    step: &[u32],
    status: &[u32],
    layers: &[u32],
    dw: &[f32],
    momenta: &mut [f32],
    latents: &mut [f32],
    w: &mut [f32],
    flips: &mut [u32],
) {
    if status[0] != 0 {
        return;
    }
    let lr = Step::from_words(step).lr;
    let len = w.len();
    let planes = 2 + p.shifts as usize;
    let mut values = vec![0.0; planes];
    let mut gradients = vec![0.0; planes];
    for i in 0..len {
        for (plane, value) in values.iter_mut().enumerate() {
            *value = latents[plane * len + i];
        }
        let was_positive = values[0] >= 0.0;
        latent_gradients(&values, dw[i], &mut gradients);
        if values[1] < 0.0 {
            gradients[1] -= p.alpha;
        }
        for plane in 0..planes {
            let v = &mut momenta[plane * len + i];
            *v = p.momentum * *v + (gradients[plane] + p.weight_decay * values[plane]);
            values[plane] -= lr * *v;
            latents[plane * len + i] = values[plane];
        }
        w[i] = weight(&values);
        if was_positive != (values[0] >= 0.0) {
            let count = &mut flips[layers[i / 64] as usize];
            *count = count.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        latent_gradients(&[-0.5, 0.1, 1.0, 1.0], 3.0, &mut d);
        let ds = 3.0 * -4.0 * std::f32::consts::LN_2;
        assert_eq!(d, [12.0, -12.0, ds, ds * 2.0]);
        // A closed gate stops the gradient below it, but has one itself.
        latent_gradients(&[0.5, 0.1, 1.0, -1.0], 3.0, &mut d);
        let ds = 3.0 * std::f32::consts::LN_2;
        assert_eq!(d, [3.0, 3.0, 0.0, ds * 2.0]);
        // A weight that is zero still moves its sparsity latent, but neither sign nor shifts.
        latent_gradients(&[-0.5, -0.1, 1.0, 1.0], 3.0, &mut d);
        assert_eq!(d.map(f32::abs), [0.0, 12.0, 0.0, 0.0]);
    }
}
