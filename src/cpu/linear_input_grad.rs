//! Gradient of the linear layer's input: each row of the weight is read once for some rows of dx.

use super::linear::{TASK, add_scaled};
use crate::kernels::linear::Params;
use rayon::prelude::*;

/// dx (N, C) = dy (N, K) w.
pub fn linear_input_grad(p: &Params, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let [columns, k] = [p.c_quads * 4, p.k].map(|x| x as usize);
    dx.par_chunks_mut(TASK * columns).zip(dy.par_chunks(TASK * k)).for_each(|(dx, dy)| {
        dx.fill(0.0);
        for (k_at, w) in w.chunks_exact(columns).enumerate() {
            for (dx, dy) in dx.chunks_exact_mut(columns).zip(dy.chunks_exact(k)) {
                add_scaled(dy[k_at], w, dx);
            }
        }
    });
}
