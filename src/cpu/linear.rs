//! The linear layer: each row of the weight is read once for some rows of x.

use super::lanes::{LANES, Lanes, multiply_add};
use crate::kernels::linear::Params;
use rayon::prelude::*;

/// Rows (N) of a task.
pub(super) const TASK: usize = 8;

/// y (N, K) = x (N, C) w^T + b.
pub fn linear(p: &Params, x: &[f32], w: &[f32], b: &[f32], y: &mut [f32]) {
    let [columns, k] = [p.c_quads * 4, p.k].map(|x| x as usize);
    let tasks = y.par_chunks_mut(TASK * k).zip(x.par_chunks(TASK * columns));
    tasks.for_each(|(y, x)| products(x, w, b, columns, y));
}

vectorized! {
    /// y (rows, K) = x (rows, C) w^T + b.
    fn products(x: &[f32], w: &[f32], b: &[f32], columns: usize, y: &mut [f32]) {
        for (k, (w, bias)) in w.chunks_exact(columns).zip(b).enumerate() {
            for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(b.len())) {
                y[k] = dot::<FMA>(x, w) + bias;
            }
        }
    }
}

#[inline(always)]
fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums: Lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] = multiply_add::<FMA>(a[lane], b[lane], sums[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

vectorized! {
    /// y += a x.
    pub(super) fn add_scaled(a: f32, x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = multiply_add::<FMA>(a, *x, *y);
        }
    }
}
