//! CPU twin of `shaders/conv2d_weight_grad/`.

use crate::kernels::conv2d_forward::Params;
use rayon::prelude::*;

/// partial (splits, R, S, C, K) from x (N, H, W, C) and dy (N, P, Q, K).
pub fn conv2d_weight_grad(p: &Params, x: &[f32], dy: &[f32], partial: &mut [f32]) {
    let [h_len, w_len, c_len, p_len, q_len, k_len] = [p.h, p.w, p.c, p.p, p.q, p.k].map(|x| x as usize);
    let rows = (p.n * p.p) as usize;
    let run = rows.div_ceil(p.splits as usize);
    partial.par_chunks_mut(p.w_len()).enumerate().for_each(|(split, partial)| {
        let mut sums = vec![0.0f64; partial.len()];
        for row in (split * run)..((split + 1) * run).min(rows) {
            let (n, out_row) = (row / p_len, row % p_len);
            for (q, dy) in dy[row * q_len * k_len..][..q_len * k_len].chunks(k_len).enumerate() {
                for (tap, h, column) in p.taps(out_row, q) {
                    let x = &x[((n * h_len + h) * w_len + column) * c_len..][..c_len];
                    for (c, &x) in x.iter().enumerate() {
                        let sums = &mut sums[(tap * c_len + c) * k_len..][..k_len];
                        for (sum, &d) in sums.iter_mut().zip(dy) {
                            *sum += f64::from(x) * f64::from(d);
                        }
                    }
                }
            }
        }
        for (partial, &sum) in partial.iter_mut().zip(&sums) {
            *partial = sum as f32;
        }
    });
}
