//! CPU twin of `shaders/shortcut_a_backward.wgsl`.

use crate::kernels::shortcut_a::Params;

/// dx (N, H, W, C): dy's channels at the even pixels, else 0.
pub fn shortcut_a_backward(p: &Params, dy: &[f32], dx: &mut [f32]) {
    dx.fill(0.0);
    let [h_len, w_len, c_len, k_len] = [p.h, p.w, p.c, p.k].map(|x| x as usize);
    for n in 0..p.n as usize {
        for row in 0..p.p as usize {
            for column in 0..p.q as usize {
                let to = ((n * h_len + 2 * row) * w_len + 2 * column) * c_len;
                let from = ((n * p.p as usize + row) * p.q as usize + column) * k_len + p.front as usize;
                dx[to..to + c_len].copy_from_slice(&dy[from..from + c_len]);
            }
        }
    }
}
