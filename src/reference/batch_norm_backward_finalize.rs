//! CPU twin of `shaders/batch_norm_backward_finalize.wgsl`.

use crate::kernels::batch_norm_backward_finalize::Params;

/// sums (2, C), dgamma and dbeta (C) from partial (chunks, 2, C).
pub fn batch_norm_backward_finalize(
    p: &Params,
    partial: &[f32],
    sums: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let c_len = p.quads as usize * 4;
    let total =
        |c: usize| partial.iter().skip(c).step_by(2 * c_len).map(|&x| f64::from(x)).sum::<f64>() as f32;
    // Not a factor of 0: what is overwritten may be NaN.
    let kept = |old: f32| if p.accumulate == 1 { old } else { 0.0 };
    for c in 0..c_len {
        let (sum, sum_x) = (total(c), total(c_len + c));
        sums[c] = sum;
        sums[c_len + c] = sum_x;
        dbeta[c] = sum + kept(dbeta[c]);
        dgamma[c] = sum_x + kept(dgamma[c]);
    }
}
