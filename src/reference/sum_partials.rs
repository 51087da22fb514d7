//! CPU twin of `shaders/sum_partials.wgsl`.

use crate::kernels::BLOCK;
use crate::kernels::sum_partials::Params;

/// y = for each block of 64 with a row in the table, the sum of its parts of partial, plus y's old value where asked.
pub fn sum_partials(p: &Params, table: &[u32], partial: &[f32], y: &mut [f32]) {
    for (row, y) in table.chunks(4).zip(y.chunks_mut(BLOCK)) {
        let [first, stride, splits, quads] = [0, 1, 2, 3].map(|i| row[i] as usize);
        if splits == 0 {
            continue;
        }
        for (i, y) in y[..quads * 4].iter_mut().enumerate() {
            let old = if p.accumulate == 1 { f64::from(*y) } else { 0.0 };
            let part = |split: usize| f64::from(partial[(first + split * stride) * 4 + i]);
            *y = (old + (0..splits).map(part).sum::<f64>()) as f32;
        }
    }
}
