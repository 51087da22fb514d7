//! Shift gates: S_0 = 0, S_t = H(w_t) (S_(t-1) + 1), and their straight-through gradients (Li et al. 2021, equations 5 and 8).

/// S_T of the shift latents w_1 ... w_T: the number of open gates (w_t > 0) that end the sequence.
pub fn shift(gates: &[f32]) -> u32 {
    gates.iter().fold(0, |s, &w| if w > 0.0 { s + 1 } else { 0 })
}

/// dL/dw_t of every gate from `ds` = dL/dS_T: dL/dw_t = dL/dS_t (S_(t-1) + 1), dL/dS_(t-1) = dL/dS_t H(w_t).
pub fn gradients(gates: &[f32], mut ds: f32, gradients: &mut [f32]) {
    for t in (0..gates.len()).rev() {
        gradients[t] = ds * (shift(&gates[..t]) as f32 + 1.0);
        ds = if gates[t] > 0.0 { ds } else { 0.0 };
    }
}

/// sgn(x), with sgn(0) = 1.
pub fn sign(x: f32) -> f32 {
    if x >= 0.0 { 1.0 } else { -1.0 }
}

/// 2^x.
pub fn power(x: u32) -> f32 {
    (1u64 << x) as f32
}
