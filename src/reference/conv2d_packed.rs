//! CPU twin of `shaders/conv2d_packed/`.

use super::conv2d_folded::conv2d_folded;
use crate::kernels::conv2d_forward::Params;
use crate::method::codec;

/// [`conv2d_folded`] with w (R, S, C / 4, K / 2) as codes.
pub fn conv2d_packed(p: &Params, x: &[f32], w: &[u32], affine: &[f32], residual: &[f32], y: &mut [f32]) {
    let w: Vec<f32> = codec::from_nibbles(w, p.k as usize).iter().map(|&w| f32::from(w)).collect();
    conv2d_folded(p, x, &w, affine, residual, y);
}
