//! CPU twin of `shaders/global_avg_pool.wgsl`.

use crate::kernels::global_avg_pool::Params;

/// y (N, C) = mean of x (N, H, W, C) over the pixels.
pub fn global_avg_pool(p: &Params, x: &[f32], y: &mut [f32]) {
    let c_len = p.quads as usize * 4;
    let area = p.area as usize;
    for (x, y) in x.chunks(area * c_len).zip(y.chunks_mut(c_len)) {
        for (c, y) in y.iter_mut().enumerate() {
            let sum: f64 = x.iter().skip(c).step_by(c_len).map(|&x| f64::from(x)).sum();
            *y = (sum / area as f64) as f32;
        }
    }
}
