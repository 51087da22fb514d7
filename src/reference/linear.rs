//! CPU twin of `shaders/linear.wgsl`.

use crate::kernels::linear::Params;

/// y (N, K) = x (N, C) w^T + b.
pub fn linear(p: &Params, x: &[f32], w: &[f32], b: &[f32], y: &mut [f32]) {
    let (c_len, k_len) = (p.c_quads as usize * 4, p.k as usize);
    for (x, y) in x.chunks(c_len).zip(y.chunks_mut(k_len)) {
        for (k, y) in y.iter_mut().enumerate() {
            let dot: f64 = x.iter().zip(&w[k * c_len..]).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            *y = (dot + f64::from(b[k])) as f32;
        }
    }
}
