//! Max-pool: the twin, image by image.

use crate::kernels::max_pool::Params;
use crate::reference;
use rayon::prelude::*;

/// y (N, P, Q, C) = maximum of each 3x3 window, winner = its place 3 r + s.
pub fn max_pool(p: &Params, x: &[f32], y: &mut [f32], winner: &mut [u32]) {
    let one = Params { n: 1, ..*p };
    let outputs = y.par_chunks_mut(one.y_len()).zip(winner.par_chunks_mut(one.y_len()));
    outputs.zip(x.par_chunks(one.x_len())).for_each(|((y, winner), x)| {
        reference::max_pool::max_pool(&one, x, y, winner);
    });
}
