//! Gradient of shortcut A: the twin, image by image.

use crate::kernels::shortcut_a::Params;
use crate::reference;
use rayon::prelude::*;

/// dx (N, H, W, C): dy's channels at the even pixels, else 0.
pub fn shortcut_a_backward(p: &Params, dy: &[f32], dx: &mut [f32]) {
    let one = Params { n: 1, ..*p };
    let images = dx.par_chunks_mut(one.x_len()).zip(dy.par_chunks(one.y_len()));
    images.for_each(|(dx, dy)| reference::shortcut_a_backward::shortcut_a_backward(&one, dy, dx));
}
