//! CPU twin of `shaders/add.wgsl`.

use crate::kernels::add::Params;

/// y = a + b.
pub fn add(_: &Params, a: &[f32], b: &[f32], y: &mut [f32]) {
    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
        *y = a + b;
    }
}
