//! Gradient of the global average pool: the twin, image by image.

use crate::kernels::global_avg_pool::Params;
use crate::reference;
use rayon::prelude::*;

/// dx (N, H, W, C) = dy (N, C) / (H W).
pub fn global_avg_pool_backward(p: &Params, dy: &[f32], dx: &mut [f32]) {
    let columns = p.quads as usize * 4;
    let one = Params { n: 1, ..*p };
    let images = dx.par_chunks_mut(p.area as usize * columns).zip(dy.par_chunks(columns));
    images.for_each(|(dx, dy)| reference::global_avg_pool_backward::global_avg_pool_backward(&one, dy, dx));
}
