//! CPU twin of `shaders/max_pool.wgsl`.

use crate::kernels::max_pool::Params;

/// y (N, P, Q, C) = maximum of each 3x3 window, winner = its place 3 r + s.
pub fn max_pool(p: &Params, x: &[f32], y: &mut [f32], winner: &mut [u32]) {
    let [h_len, w_len, q_len] = [p.h, p.w, p.q].map(|x| x as usize);
    let c_len = p.quads as usize * 4;
    for (pixel, (y, winner)) in y.chunks_mut(c_len).zip(winner.chunks_mut(c_len)).enumerate() {
        let (row, q) = (pixel / q_len, pixel % q_len);
        let (n, out_row) = (row / p.p as usize, row % p.p as usize);
        for c in 0..c_len {
            let mut best: Option<f32> = None;
            for place in 0..9 {
                let (h, w) = (2 * out_row + place / 3, 2 * q + place % 3);
                if (1..=h_len).contains(&h) && (1..=w_len).contains(&w) {
                    let value = x[((n * h_len + h - 1) * w_len + w - 1) * c_len + c];
                    let loses = best.is_some_and(|best| value <= best);
                    if !loses {
                        best = Some(value);
                        winner[c] = place as u32;
                    }
                }
            }
            y[c] = best.expect("the window's middle is inside");
        }
    }
}
