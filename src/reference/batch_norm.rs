//! CPU twin of `shaders/batch_norm.wgsl`.

use super::relu;
use crate::kernels::batch_norm::{EPS, Params};

/// y (rows, C) = (x - mean) / sqrt(variance + eps) * gamma + beta (+ residual), perhaps rectified; stats (2, C) and
/// running (2, C) from partial (chunks, 2, C).
#[allow(clippy::too_many_arguments)]
pub fn batch_norm(
    p: &Params,
    x: &[f32],
    partial: &[f32],
    gamma: &[f32],
    beta: &[f32],
    residual: &[f32],
    running: &mut [f32],
    stats: &mut [f32],
    y: &mut [f32],
) {
    let c_len = p.quads as usize * 4;
    let batch = p.chunks > 0;
    if batch {
        finalize(p, partial, running, stats);
    }
    let used: &[f32] = if batch { stats } else { running };
    for (row, (x, y)) in x.chunks(c_len).zip(y.chunks_mut(c_len)).enumerate() {
        for c in 0..c_len {
            let scale = f64::from(gamma[c]) / (f64::from(used[c_len + c]) + EPS).sqrt();
            let mut value = f64::from(x[c] - used[c]) * scale + f64::from(beta[c]);
            if p.residual == 1 {
                value += f64::from(residual[row * c_len + c]);
            }
            y[c] = if p.relu == 1 { relu(value as f32) } else { value as f32 };
        }
    }
}

/// stats (2, C) from partial (chunks, 2, C) by Chan's formula; running moves towards them.
pub(crate) fn finalize(p: &Params, partial: &[f32], running: &mut [f32], stats: &mut [f32]) {
    let c_len = p.quads as usize * 4;
    for c in 0..c_len {
        let (mut count, mut mean, mut m2) = (0.0, 0.0, 0.0);
        for (chunk, values) in partial.chunks(2 * c_len).enumerate() {
            let rows = f64::from(p.chunk.min(p.rows - chunk as u32 * p.chunk));
            let d = f64::from(values[c]) - mean;
            let total = count + rows;
            mean += d * rows / total;
            m2 += f64::from(values[c_len + c]) + d * d * count * rows / total;
            count = total;
        }
        let unbiased = m2 / (count - 1.0).max(1.0);
        stats[c] = mean as f32;
        stats[c_len + c] = (m2 / count) as f32;
        running[c] += p.momentum * (mean as f32 - running[c]);
        running[c_len + c] += p.momentum * (unbiased as f32 - running[c_len + c]);
    }
}
