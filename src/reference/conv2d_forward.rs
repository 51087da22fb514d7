//! CPU twin of `shaders/conv2d_forward/`.

use crate::kernels::conv2d_forward::Params;
use rayon::prelude::*;

impl Params {
    /// For output pixel (p, q): each kernel tap (r, s) that is inside, with its input pixel (h, w).
    pub(crate) fn taps(&self, p: usize, q: usize) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let [h_len, w_len, r_len, s_len, stride, pad] =
            [self.h, self.w, self.r, self.s, self.stride, self.pad].map(|x| x as usize);
        (0..r_len * s_len).filter_map(move |tap| {
            let (h, w) = (p * stride + tap / s_len, q * stride + tap % s_len);
            let inside = (pad..pad + h_len).contains(&h) && (pad..pad + w_len).contains(&w);
            inside.then(|| (tap, h - pad, w - pad))
        })
    }
}

/// Calls `put(i, sum)` for each element i of y (N, P, Q, K) = x (N, H, W, C) * w (R, S, C, K), in place.
pub(super) fn convolve(
    p: &Params,
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
    put: impl Fn(usize, f64) -> f32 + Sync,
) {
    let [h_len, w_len, c_len, p_len, q_len, k_len] = [p.h, p.w, p.c, p.p, p.q, p.k].map(|x| x as usize);
    y.par_chunks_mut(q_len * k_len).enumerate().for_each(|(row, y)| {
        let mut sum = vec![0.0f64; k_len];
        for (q, y) in y.chunks_mut(k_len).enumerate() {
            sum.fill(0.0);
            for (tap, h, column) in p.taps(row % p_len, q) {
                let x = &x[((row / p_len * h_len + h) * w_len + column) * c_len..][..c_len];
                for (c, &x) in x.iter().enumerate() {
                    let w = &w[(tap * c_len + c) * k_len..][..k_len];
                    for (sum, &w) in sum.iter_mut().zip(w) {
                        *sum += f64::from(x) * f64::from(w);
                    }
                }
            }
            for (k, (y, &sum)) in y.iter_mut().zip(&sum).enumerate() {
                *y = put((row * q_len + q) * k_len + k, sum);
            }
        }
    });
}

/// y (N, P, Q, K) = x (N, H, W, C) * w (R, S, C, K); partial (chunks, 2, K) = mean and M2 of each chunk of y.
pub fn conv2d_forward(p: &Params, x: &[f32], w: &[f32], y: &mut [f32], partial: &mut [f32]) {
    convolve(p, x, w, y, |_, sum| sum as f32);
    if p.stats == 1 {
        moments(y, p.k as usize, p.chunk as usize, partial);
    }
}

/// partial (chunks, 2, C) = mean and sum of squared deviations of each chunk of `chunk` rows of x (rows, C).
fn moments(x: &[f32], c_len: usize, chunk: usize, partial: &mut [f32]) {
    for (rows, out) in x.chunks(chunk * c_len).zip(partial.chunks_mut(2 * c_len)) {
        let count = (rows.len() / c_len) as f64;
        for c in 0..c_len {
            let column = || rows.iter().skip(c).step_by(c_len).map(|&x| f64::from(x));
            let mean = column().sum::<f64>() / count;
            out[c] = mean as f32;
            out[c_len + c] = column().map(|x| (x - mean).powi(2)).sum::<f64>() as f32;
        }
    }
}
