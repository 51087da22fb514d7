//! CPU twin of `shaders/max_pool_backward.wgsl`.

use crate::kernels::max_pool::Params;

/// dx (N, H, W, C) = dy scattered to the windows' winners.
pub fn max_pool_backward(p: &Params, winner: &[u32], dy: &[f32], dx: &mut [f32]) {
    dx.fill(0.0);
    let [h_len, w_len, q_len] = [p.h, p.w, p.q].map(|x| x as usize);
    let c_len = p.quads as usize * 4;
    for (i, (&dy, &place)) in dy.iter().zip(winner).enumerate() {
        let (pixel, c) = (i / c_len, i % c_len);
        let (row, q) = (pixel / q_len, pixel % q_len);
        let (n, out_row) = (row / p.p as usize, row % p.p as usize);
        let (h, w) = (2 * out_row + place as usize / 3 - 1, 2 * q + place as usize % 3 - 1);
        dx[((n * h_len + h) * w_len + w) * c_len + c] += dy;
    }
}
