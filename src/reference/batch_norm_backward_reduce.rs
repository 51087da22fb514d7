//! CPU twin of `shaders/batch_norm_backward_reduce.wgsl`.

use crate::kernels::batch_norm::EPS;
use crate::kernels::batch_norm_backward_reduce::Params;

/// dy (rows, C) = dy (+ second), 0 where y <= 0 if rectified; partial (chunks, 2, C) = sums of that and of that times
/// xhat over each chunk of rows.
pub fn batch_norm_backward_reduce(
    p: &Params,
    x: &[f32],
    stats: &[f32],
    y: &[f32],
    second: &[f32],
    dy: &mut [f32],
    partial: &mut [f32],
) {
    if p.second == 1 {
        dy.iter_mut().zip(second).for_each(|(d, &other)| *d += other);
    }
    if p.relu == 1 {
        dy.iter_mut().zip(y).for_each(|(d, &y)| *d = if y > 0.0 { *d } else { 0.0 });
    }
    let c_len = p.quads as usize * 4;
    let size = p.chunk as usize * c_len;
    for ((x, dy), out) in x.chunks(size).zip(dy.chunks(size)).zip(partial.chunks_mut(2 * c_len)) {
        for c in 0..c_len {
            let (mut sum, mut sum_x) = (0.0, 0.0);
            for (x, dy) in x.chunks(c_len).zip(dy.chunks(c_len)) {
                sum += f64::from(dy[c]);
                sum_x += f64::from(dy[c]) * f64::from(x[c] - stats[c]);
            }
            out[c] = sum as f32;
            out[c_len + c] = (sum_x / (f64::from(stats[c_len + c]) + EPS).sqrt()) as f32;
        }
    }
}
