//! CPU twin of `shaders/linear_input_grad.wgsl`.

use crate::kernels::linear::Params;

/// dx (N, C) = dy (N, K) w.
pub fn linear_input_grad(p: &Params, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let (c_len, k_len) = (p.c_quads as usize * 4, p.k as usize);
    for (dy, dx) in dy.chunks(k_len).zip(dx.chunks_mut(c_len)) {
        for (c, dx) in dx.iter_mut().enumerate() {
            let column = w.iter().skip(c).step_by(c_len);
            *dx = dy.iter().zip(column).map(|(&d, &w)| f64::from(d) * f64::from(w)).sum::<f64>() as f32;
        }
    }
}
