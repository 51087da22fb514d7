//! CPU twin of `shaders/global_avg_pool_integer.wgsl`.

use super::integers::unpack;
use crate::kernels::global_avg_pool_integer::Params;

/// y (N, C) = sum of x (N, H, W, C) over the pixels, times scale.
pub fn global_avg_pool_integer(p: &Params, x: &[u32], y: &mut [f32]) {
    let c_len = p.quads as usize * 4;
    let x = unpack(x, p.bits);
    for (x, y) in x.chunks(p.area as usize * c_len).zip(y.chunks_mut(c_len)) {
        for (c, y) in y.iter_mut().enumerate() {
            let sum: i32 = x.iter().skip(c).step_by(c_len).sum();
            *y = sum as f32 * p.scale;
        }
    }
}
