//! CPU twin of `shaders/conv2d_input_grad/`.

use crate::kernels::conv2d_forward::Params;
use rayon::prelude::*;

/// dx (N, H, W, C) = dy (N, P, Q, K) spread by w (R, S, C, K).
pub fn conv2d_input_grad(p: &Params, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let [h_len, w_len, c_len, p_len, q_len, k_len] = [p.h, p.w, p.c, p.p, p.q, p.k].map(|x| x as usize);
    let image = h_len * w_len * c_len;
    dx.par_chunks_mut(image).zip(dy.par_chunks(p_len * q_len * k_len)).for_each(|(dx, dy)| {
        let mut sums = vec![0.0f64; image];
        for (pixel, dy) in dy.chunks(k_len).enumerate() {
            for (tap, h, column) in p.taps(pixel / q_len, pixel % q_len) {
                let sums = &mut sums[(h * w_len + column) * c_len..][..c_len];
                for (c, sum) in sums.iter_mut().enumerate() {
                    let w = &w[(tap * c_len + c) * k_len..][..k_len];
                    *sum += dy.iter().zip(w).map(|(&d, &w)| f64::from(d) * f64::from(w)).sum::<f64>();
                }
            }
        }
        for (dx, &sum) in dx.iter_mut().zip(&sums) {
            *dx = sum as f32;
        }
    });
}
