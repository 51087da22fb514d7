//! CPU twin of `shaders/batch_norm_stats.wgsl`.

use crate::kernels::batch_norm_stats::Params;

/// partial (chunks, 2, C) = mean and sum of squared deviations of each chunk of x (rows, C).
pub fn batch_norm_stats(p: &Params, x: &[f32], partial: &mut [f32]) {
    let c_len = p.channels();
    for (rows, out) in x.chunks(p.chunk as usize * c_len).zip(partial.chunks_mut(2 * c_len)) {
        let count = (rows.len() / c_len) as f64;
        for c in 0..c_len {
            let column = || rows.iter().skip(c).step_by(c_len).map(|&x| f64::from(x));
            let mean = column().sum::<f64>() / count;
            out[c] = mean as f32;
            out[c_len + c] = column().map(|x| (x - mean).powi(2)).sum::<f64>() as f32;
        }
    }
}
