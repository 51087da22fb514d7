//! Convolution of 8-bit activations: by f32 multiply-adds where these sums are exact, which is where they stay below 2^24.

use super::conv2d_packed::panels;
use super::conv2d_shift::{conv2d_shift, rows};
use super::tile::{Pixel, correlate};
use crate::kernels::conv2d_shift::Params;

/// y (N, P, Q, K) as [`conv2d_shift`] computes it.
pub fn conv2d_dot(p: &Params, x: &[u32], w: &[u32], requant: &[u32], residual: &[u32], y: &mut [u32]) {
    let k = p.k as usize;
    let panels = panels(w, k);
    if 128.0 * panels.largest_sum() >= (1 << 24) as f32 {
        return conv2d_shift(p, x, w, requant, residual, y);
    }
    let [row, s, c, stride] = [p.q, p.s, p.c, p.stride].map(|x| x as usize);
    let pitch = (p.w + 2 * p.pad) as usize * c;
    rows(p, x, requant, residual, y, |image: &[f32], first, sums: &mut [f32]| {
        let pixel =
            |i: usize| Pixel { from: (first + i / row) * stride * pitch + i % row * stride * c, to: i * k };
        let pixels: Vec<Pixel> = (0..sums.len() / k).map(pixel).collect();
        correlate(image, &pixels, pitch, s * c, &panels, sums);
    });
}
