//! CPU twin of `shaders/relu_backward.wgsl`.

use crate::kernels::relu_backward::Params;

/// dx = dy where y > 0, else 0.
pub fn relu_backward(_: &Params, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
        *dx = if y > 0.0 { dy } else { 0.0 };
    }
}
