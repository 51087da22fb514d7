//! The S³ weight (Li et al. 2021, section 3): w = sgn(w_sign) H(w_sparse) 2^S_T with S_0 = 0 and
//! S_t = H(w_t) (S_(t-1) + 1), trained with straight-through gradients.

/// T, the number of shift latents, at `bits` of 2 to 5: 0, 2, 6, 14.
pub fn shifts(bits: u32) -> usize {
    (1 << (bits - 1)) - 2
}

/// Suffixes of the latents' names on disk: sign, sparse, t1 ... tT.
pub fn latent_names(shifts: usize) -> Vec<String> {
    let fixed = ["weight_sign".to_string(), "weight_sparse".to_string()];
    fixed.into_iter().chain((1..=shifts).map(|t| format!("weight_t{t}"))).collect()
}

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
