//! CPU twin of `shaders/shortcut_a_integer.wgsl`.

use crate::kernels::shortcut_a_integer::Params;

/// y (N, P, Q, K) = x (N, H, W, C) at every second pixel, between zero channels.
pub fn shortcut_a_integer(p: &Params, x: &[u32], y: &mut [u32]) {
    y.fill(0);
    let words = |channels: u32| (channels * p.bits / 32) as usize;
    let [c, k, front] = [p.c, p.k, p.front].map(words);
    let [h_len, w_len, p_len, q_len] = [p.h, p.w, p.p, p.q].map(|x| x as usize);
    for (pixel, y) in y.chunks_exact_mut(k).enumerate() {
        let (n, row, column) = (pixel / (p_len * q_len), pixel / q_len % p_len, pixel % q_len);
        let from = ((n * h_len + 2 * row) * w_len + 2 * column) * c;
        y[front..front + c].copy_from_slice(&x[from..from + c]);
    }
}
