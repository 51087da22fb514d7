//! Folded convolution: as the forward one, with scale, bias, residual and ReLU on what it just wrote.

use super::conv2d_forward::run_of_pixels;
use super::lanes::LANES;
use super::tile::Panels;
use crate::kernels::conv2d_forward::Params;
use rayon::prelude::*;

/// Elements of y that a task computes, about: so few that they are in the nearest cache when they are scaled.
const TASK: usize = 1 << 12;

/// Tasks that there are at least, where there are as many rows of pixels.
const TASKS: usize = 16;

/// y (N, P, Q, K) = x (N, H, W, C) * w (R, S, C, K) scaled, plus a bias (+ residual), perhaps rectified.
pub fn conv2d_folded(p: &Params, x: &[f32], w: &[f32], affine: &[f32], residual: &[f32], y: &mut [f32]) {
    fold(p, x, &Panels::of(w, p.k as usize), affine, residual, y);
}

/// [`conv2d_folded`] with the weights in panels.
pub(super) fn fold(p: &Params, x: &[f32], w: &Panels, affine: &[f32], residual: &[f32], y: &mut [f32]) {
    let [k, row] = [p.k, p.q].map(|x| x as usize);
    // Whole rows of pixels, so that little of the image is copied twice.
    let all = (p.n * p.p) as usize;
    let rows = (TASK / (row * k)).clamp(1, all.div_ceil(TASKS));
    let size = rows * row * k;
    y.par_chunks_mut(size).enumerate().for_each(|(i, y)| {
        run_of_pixels(p, x, w, i * rows * row, y);
        let residual = (p.residual == 1).then(|| &residual[i * size..][..y.len()]);
        finish(affine, residual, p.relu == 1, y);
    });
}

vectorized! {
    /// y (rows, K) = y scaled, plus a bias (+ residual), perhaps rectified.
    fn finish(affine: &[f32], residual: Option<&[f32]>, relu: bool, y: &mut [f32]) {
        match (affine.len() / 2) % LANES {
            0 => finish_lanes::<LANES>(affine, residual, relu, y),
            _ => finish_lanes::<4>(affine, residual, relu, y),
        }
    }
}

#[inline(always)]
fn finish_lanes<const W: usize>(affine: &[f32], residual: Option<&[f32]>, relu: bool, y: &mut [f32]) {
    let (scale, bias) = affine.split_at(affine.len() / 2);
    let [scale, bias] = [scale, bias].map(|values| values.as_chunks::<W>().0);
    for (row, y) in y.as_chunks_mut::<W>().0.chunks_exact_mut(scale.len()).enumerate() {
        for (i, y) in y.iter_mut().enumerate() {
            let mut value = [0.0; W];
            for l in 0..W {
                value[l] = y[l] * scale[i][l] + bias[i][l];
            }
            if let Some(residual) = residual {
                let residual = &residual[(row * scale.len() + i) * W..][..W];
                for l in 0..W {
                    value[l] += residual[l];
                }
            }
            if relu {
                value = value.map(crate::reference::relu);
            }
            *y = value;
        }
    }
}
