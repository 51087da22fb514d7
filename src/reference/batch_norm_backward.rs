//! CPU twin of `shaders/batch_norm_backward.wgsl`.

use crate::kernels::batch_norm::EPS;
use crate::kernels::batch_norm_backward::Params;

/// dx = gamma / sqrt(variance + eps) * (dy - (sum(dy) + xhat * sum(dy * xhat)) / rows), with the sums from partial
/// (chunks, 2, C), which are dbeta and dgamma (C).
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_backward(
    p: &Params,
    x: &[f32],
    stats: &[f32],
    gamma: &[f32],
    partial: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let c_len = p.quads as usize * 4;
    let sums: Vec<f64> = (0..2 * c_len)
        .map(|c| partial.iter().skip(c).step_by(2 * c_len).map(|&x| f64::from(x)).sum())
        .collect();
    // Not a factor of 0: what is overwritten may be NaN.
    let kept = |old: f32| if p.accumulate == 1 { old } else { 0.0 };
    for c in 0..c_len {
        dbeta[c] = sums[c] as f32 + kept(dbeta[c]);
        dgamma[c] = sums[c_len + c] as f32 + kept(dgamma[c]);
    }
    for ((x, dy), dx) in x.chunks(c_len).zip(dy.chunks(c_len)).zip(dx.chunks_mut(c_len)) {
        for c in 0..c_len {
            let inverse = 1.0 / (f64::from(stats[c_len + c]) + EPS).sqrt();
            let xhat = f64::from(x[c] - stats[c]) * inverse;
            let mean = (sums[c] + xhat * sums[c_len + c]) / f64::from(p.rows);
            dx[c] = (f64::from(gamma[c]) * inverse * (f64::from(dy[c]) - mean)) as f32;
        }
    }
}
