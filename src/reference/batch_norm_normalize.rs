//! CPU twin of `shaders/batch_norm_normalize.wgsl`.

use crate::kernels::batch_norm_normalize::{EPS, Params};

/// y (rows, C) = (x - mean) / sqrt(variance + eps) * gamma + beta.
pub fn batch_norm_normalize(
    p: &Params,
    x: &[f32],
    stats: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [f32],
) {
    let c_len = p.quads as usize * 4;
    for (x, y) in x.chunks(c_len).zip(y.chunks_mut(c_len)) {
        for c in 0..c_len {
            let scale = f64::from(gamma[c]) / (f64::from(stats[c_len + c]) + EPS).sqrt();
            y[c] = (f64::from(x[c] - stats[c]) * scale + f64::from(beta[c])) as f32;
        }
    }
}
