//! CPU twin of `shaders/linear_weight_grad.wgsl`.

use crate::kernels::linear_weight_grad::Params;

/// dw (K, C) = dy^T x, db (K) = column sums of dy.
pub fn linear_weight_grad(p: &Params, x: &[f32], dy: &[f32], dw: &mut [f32], db: &mut [f32]) {
    let (c_len, k_len) = (p.c_quads as usize * 4, p.k as usize);
    // Not a factor of 0: what is overwritten may be NaN.
    let kept = |old: f32| if p.accumulate == 1 { f64::from(old) } else { 0.0 };
    for k in 0..k_len {
        let column = || dy.iter().skip(k).step_by(k_len).map(|&d| f64::from(d));
        db[k] = (column().sum::<f64>() + kept(db[k])) as f32;
        for (c, dw) in dw[k * c_len..(k + 1) * c_len].iter_mut().enumerate() {
            let xs = x.iter().skip(c).step_by(c_len);
            let sum: f64 = column().zip(xs).map(|(d, &x)| d * f64::from(x)).sum();
            *dw = (sum + kept(*dw)) as f32;
        }
    }
}
