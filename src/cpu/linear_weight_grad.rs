//! Gradient of the linear layer's weight and bias, row by row.

use super::linear::add_scaled;
use crate::kernels::linear_weight_grad::Params;
use rayon::prelude::*;

/// dw (K, C) = dy^T x, db (K) = column sums of dy.
pub fn linear_weight_grad(p: &Params, x: &[f32], dy: &[f32], dw: &mut [f32], db: &mut [f32]) {
    let [columns, k] = [p.c_quads * 4, p.k].map(|x| x as usize);
    dw.par_chunks_mut(columns).zip(db).enumerate().for_each(|(at, (dw, db))| {
        let mut sums = vec![0.0; columns];
        let mut sum = 0.0f64;
        for (dy, x) in dy.chunks_exact(k).zip(x.chunks_exact(columns)) {
            add_scaled(dy[at], x, &mut sums);
            sum += f64::from(dy[at]);
        }
        if p.accumulate == 1 {
            sums.iter_mut().zip(&*dw).for_each(|(sum, old)| *sum += old);
            sum += f64::from(*db);
        }
        dw.copy_from_slice(&sums);
        *db = sum as f32;
    });
}
