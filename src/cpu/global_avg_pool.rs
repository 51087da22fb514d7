//! Global average pool: image by image, channels side by side.

use crate::kernels::global_avg_pool::Params;
use rayon::prelude::*;

/// y (N, C) = mean of x (N, H, W, C) over the pixels.
pub fn global_avg_pool(p: &Params, x: &[f32], y: &mut [f32]) {
    let columns = p.quads as usize * 4;
    let area = p.area as usize;
    y.par_chunks_mut(columns).zip(x.par_chunks(area * columns)).for_each(|(y, x)| {
        let mut sums = vec![0.0f64; columns];
        for pixel in x.chunks_exact(columns) {
            sums.iter_mut().zip(pixel).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        y.iter_mut().zip(&sums).for_each(|(y, sum)| *y = (sum / area as f64) as f32);
    });
}
