//! CPU twin of `shaders/relu.wgsl`.

use crate::kernels::relu::Params;

/// y = max(x, 0).
pub fn relu(_: &Params, x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = x.max(0.0);
    }
}
