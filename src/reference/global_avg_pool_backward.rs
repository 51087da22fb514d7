//! CPU twin of `shaders/global_avg_pool_backward.wgsl`.

use crate::kernels::global_avg_pool::Params;

/// dx (N, H, W, C) = dy (N, C) / (H W).
pub fn global_avg_pool_backward(p: &Params, dy: &[f32], dx: &mut [f32]) {
    let c_len = p.quads as usize * 4;
    for (pixel, dx) in dx.chunks_mut(c_len).enumerate() {
        let dy = &dy[pixel / p.area as usize * c_len..][..c_len];
        for (dx, &dy) in dx.iter_mut().zip(dy) {
            *dx = dy / p.area as f32;
        }
    }
}
