//! CPU twin of `shaders/sum_partials.wgsl`.

use crate::kernels::sum_partials::Params;

/// y = sum of the parts of partial (splits, len of y), plus y's old value where asked.
pub fn sum_partials(p: &Params, partial: &[f32], y: &mut [f32]) {
    let len = y.len();
    for (i, y) in y.iter_mut().enumerate() {
        let old = if p.accumulate == 1 { f64::from(*y) } else { 0.0 };
        *y = (old + partial.iter().skip(i).step_by(len).map(|&x| f64::from(x)).sum::<f64>()) as f32;
    }
}
