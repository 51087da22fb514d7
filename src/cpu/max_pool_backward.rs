//! Gradient of the max-pool: the twin, image by image.

use crate::kernels::max_pool::Params;
use crate::reference;
use rayon::prelude::*;

/// dx (N, H, W, C) = dy scattered to the windows' winners.
pub fn max_pool_backward(p: &Params, winner: &[u32], dy: &[f32], dx: &mut [f32]) {
    let one = Params { n: 1, ..*p };
    let inputs = winner.par_chunks(one.y_len()).zip(dy.par_chunks(one.y_len()));
    dx.par_chunks_mut(one.x_len()).zip(inputs).for_each(|(dx, (winner, dy))| {
        reference::max_pool_backward::max_pool_backward(&one, winner, dy, dx);
    });
}
