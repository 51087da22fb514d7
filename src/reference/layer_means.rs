//! CPU twin of `shaders/layer_means.wgsl`.

use crate::kernels::layer_means::Params;

/// means = the sums of each layer over its weights; rows of `table` are first sum, sums, weights.
pub fn layer_means(p: &Params, table: &[u32], sums: &[f32], means: &mut [f32]) {
    debug_assert_eq!(means.len(), p.layers as usize);
    for (mean, row) in means.iter_mut().zip(table.chunks_exact(3)) {
        let [first, count, weights] = [row[0], row[1], row[2]].map(|x| x as usize);
        let sum: f64 = sums[first..first + count].iter().map(|&s| f64::from(s)).sum();
        *mean = (sum / weights as f64) as f32;
    }
}
