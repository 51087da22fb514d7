//! CPU twin of `shaders/batch_norm_backward.wgsl`.

use crate::kernels::batch_norm_normalize::{EPS, Params};

/// dx = gamma / sqrt(variance + eps) * (dy - (sum(dy) + xhat * sum(dy * xhat)) / rows).
pub fn batch_norm_backward(
    p: &Params,
    x: &[f32],
    stats: &[f32],
    gamma: &[f32],
    sums: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    let c_len = p.quads as usize * 4;
    for ((x, dy), dx) in x.chunks(c_len).zip(dy.chunks(c_len)).zip(dx.chunks_mut(c_len)) {
        for c in 0..c_len {
            let inverse = 1.0 / (f64::from(stats[c_len + c]) + EPS).sqrt();
            let xhat = f64::from(x[c] - stats[c]) * inverse;
            let mean = (f64::from(sums[c]) + xhat * f64::from(sums[c_len + c])) / f64::from(p.rows);
            dx[c] = (f64::from(gamma[c]) * inverse * (f64::from(dy[c]) - mean)) as f32;
        }
    }
}
