//! Batch-norm gradients, second stage.

use super::batch_norm::task;
use super::lanes::LANES;
use crate::kernels::batch_norm::EPS;
use crate::kernels::batch_norm_backward::Params;
use rayon::prelude::*;

/// dx = gamma / sqrt(variance + eps) * (dy - (sum(dy) + xhat * sum(dy * xhat)) / rows), with the sums from partial
/// (chunks, 2, C), which are dbeta and dgamma (C).
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_backward(
    p: &Params,
    x: &[f32],
    stats: &[f32],
    gamma: &[f32],
    partial: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let columns = p.quads as usize * 4;
    let mut sums = vec![0.0f64; 2 * columns];
    for chunk in partial.chunks_exact(2 * columns) {
        sums.iter_mut().zip(chunk).for_each(|(sum, &part)| *sum += f64::from(part));
    }
    // Not a factor of 0: what is overwritten may be NaN.
    let kept = |old: f32| if p.accumulate == 1 { old } else { 0.0 };
    for c in 0..columns {
        dbeta[c] = sums[c] as f32 + kept(dbeta[c]);
        dgamma[c] = sums[columns + c] as f32 + kept(dgamma[c]);
    }
    let (mean, variance) = stats.split_at(columns);
    let rows = f64::from(p.rows);
    let inverse = |c: usize| 1.0 / (f64::from(variance[c]) + EPS).sqrt();
    let each = |value: &dyn Fn(usize) -> f64| (0..columns).map(|c| value(c) as f32).collect::<Vec<f32>>();
    // The mean of dy, that of its part along x - mean, and the factor of what is left.
    let [shift, slope, scale] = [
        each(&|c| sums[c] / rows),
        each(&|c| sums[columns + c] / rows * inverse(c)),
        each(&|c| f64::from(gamma[c]) * inverse(c)),
    ];
    let size = task(columns);
    dx.par_chunks_mut(size).enumerate().for_each(|(i, dx)| {
        let range = i * size..i * size + dx.len();
        apply(&x[range.clone()], &dy[range], [mean, &shift, &slope, &scale], dx);
    });
}

vectorized! {
    /// dx (rows, C) = (dy - shift - (x - mean) * slope) * scale.
    fn apply(x: &[f32], dy: &[f32], channels: [&[f32]; 4], dx: &mut [f32]) {
        match channels[0].len() % LANES {
            0 => apply_lanes::<LANES>(x, dy, channels, dx),
            _ => apply_lanes::<4>(x, dy, channels, dx),
        }
    }
}

#[inline(always)]
fn apply_lanes<const W: usize>(x: &[f32], dy: &[f32], channels: [&[f32]; 4], dx: &mut [f32]) {
    let [mean, shift, slope, scale] = channels.map(|values| values.as_chunks::<W>().0);
    let width = mean.len();
    let [x, dy] = [x, dy].map(|values| values.as_chunks::<W>().0.chunks_exact(width));
    for ((x, dy), dx) in x.zip(dy).zip(dx.as_chunks_mut::<W>().0.chunks_exact_mut(width)) {
        for i in 0..width {
            for l in 0..W {
                let along = (x[i][l] - mean[i][l]) * slope[i][l];
                dx[i][l] = (dy[i][l] - shift[i][l] - along) * scale[i][l];
            }
        }
    }
}
