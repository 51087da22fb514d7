//! CPU twin of `shaders/conv2d_folded/`.

use super::conv2d_forward::convolve;
use super::relu;
use crate::kernels::conv2d_forward::Params;

/// y (N, P, Q, K) = x (N, H, W, C) * w (R, S, C, K) scaled, plus a bias (+ residual), perhaps rectified.
pub fn conv2d_folded(p: &Params, x: &[f32], w: &[f32], affine: &[f32], residual: &[f32], y: &mut [f32]) {
    let (scale, bias) = affine.split_at(p.k as usize);
    convolve(p, x, w, y, |i, sum| {
        let k = i % p.k as usize;
        let mut value = sum * f64::from(scale[k]) + f64::from(bias[k]);
        if p.residual == 1 {
            value += f64::from(residual[i]);
        }
        if p.relu == 1 { relu(value as f32) } else { value as f32 }
    });
}
