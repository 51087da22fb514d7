//! CPU twin of `shaders/batch_norm_finalize.wgsl`.

use crate::kernels::batch_norm_finalize::Params;

/// stats (2, C) from partial (chunks, 2, C) by Chan's formula; running moves towards them.
pub fn batch_norm_finalize(p: &Params, partial: &[f32], stats: &mut [f32], running: &mut [f32]) {
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
