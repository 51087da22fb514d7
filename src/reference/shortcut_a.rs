//! CPU twin of `shaders/shortcut_a.wgsl`.

use crate::kernels::shortcut_a::Params;

/// y (N, P, Q, K) = x (N, H, W, C) at every second pixel, between zero channels.
pub fn shortcut_a(p: &Params, x: &[f32], y: &mut [f32]) {
    y.fill(0.0);
    let [h_len, w_len, c_len, k_len] = [p.h, p.w, p.c, p.k].map(|x| x as usize);
    for n in 0..p.n as usize {
        for row in 0..p.p as usize {
            for column in 0..p.q as usize {
                let from = ((n * h_len + 2 * row) * w_len + 2 * column) * c_len;
                let to = ((n * p.p as usize + row) * p.q as usize + column) * k_len + p.front as usize;
                y[to..to + c_len].copy_from_slice(&x[from..from + c_len]);
            }
        }
    }
}
