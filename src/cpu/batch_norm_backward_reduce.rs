//! Batch-norm gradients, first stage.

use super::batch_norm::task;
use super::lanes::LANES;
use crate::kernels::batch_norm::EPS;
use crate::kernels::batch_norm_backward_reduce::Params;
use rayon::prelude::*;

/// Rows whose sums are f32.
const RUN: usize = 32;

/// dy (rows, C) = dy (+ second), 0 where y <= 0 if rectified; partial (chunks, 2, C) = sums of that and of that times
/// xhat over each chunk of rows.
pub fn batch_norm_backward_reduce(
    p: &Params,
    x: &[f32],
    stats: &[f32],
    y: &[f32],
    second: &[f32],
    dy: &mut [f32],
    partial: &mut [f32],
) {
    let columns = p.quads as usize * 4;
    let size = p.chunk as usize * columns;
    let (mean, variance) = stats.split_at(columns);
    dy.par_chunks_mut(size).zip(partial.par_chunks_mut(2 * columns)).enumerate().for_each(
        |(i, (dy, out))| {
            let begin = i * size;
            let part = |(j, dy): (usize, &mut [f32])| {
                let begin = begin + j * task(columns);
                let mut sums = vec![0.0; 2 * columns];
                for (j, dy) in dy.chunks_mut(RUN * columns).enumerate() {
                    let begin = begin + j * RUN * columns;
                    let range = begin..begin + dy.len();
                    let second = (p.second == 1).then(|| &second[range.clone()]);
                    let y = (p.relu == 1).then(|| &y[range.clone()]);
                    gather(&x[range], mean, y, second, dy, &mut sums);
                }
                sums
            };
            let parts: Vec<Vec<f64>> = dy.par_chunks_mut(task(columns)).enumerate().map(part).collect();
            let sum = |c: usize| parts.iter().map(|sums| sums[c]).sum::<f64>();
            for c in 0..columns {
                out[c] = sum(c) as f32;
                out[columns + c] = (sum(columns + c) / (f64::from(variance[c]) + EPS).sqrt()) as f32;
            }
        },
    );
}

vectorized! {
    /// dy (rows, C) = dy + second, where y > 0; sums (2, C) += the sums of that and of that times x - mean.
    fn gather(
        x: &[f32],
        mean: &[f32],
        y: Option<&[f32]>,
        second: Option<&[f32]>,
        dy: &mut [f32],
        sums: &mut [f64],
    ) {
        let columns = mean.len();
        let mut c = 0;
        while c + LANES <= columns {
            gather_lanes::<LANES>(x, mean, y, second, dy, c, sums);
            c += LANES;
        }
        while c < columns {
            gather_lanes::<4>(x, mean, y, second, dy, c, sums);
            c += 4;
        }
    }
}

/// The `W` columns from `c` on.
#[inline(always)]
fn gather_lanes<const W: usize>(
    x: &[f32],
    mean: &[f32],
    y: Option<&[f32]>,
    second: Option<&[f32]>,
    dy: &mut [f32],
    c: usize,
    sums: &mut [f64],
) {
    let lanes = |values: &[f32], at: usize| -> [f32; W] { *values[at..].first_chunk().expect("whole rows") };
    let columns = mean.len();
    let mean = lanes(mean, c);
    let (mut sum, mut sum_x) = ([0.0; W], [0.0; W]);
    for at in (c..x.len()).step_by(columns) {
        let mut d = lanes(dy, at);
        if let Some(second) = second {
            let second = lanes(second, at);
            for l in 0..W {
                d[l] += second[l];
            }
        }
        if let Some(y) = y {
            let y = lanes(y, at);
            for l in 0..W {
                d[l] = if y[l] > 0.0 { d[l] } else { 0.0 };
            }
        }
        if y.is_some() || second.is_some() {
            dy[at..at + W].copy_from_slice(&d);
        }
        let x = lanes(x, at);
        for l in 0..W {
            sum[l] += d[l];
            sum_x[l] += d[l] * (x[l] - mean[l]);
        }
    }
    for l in 0..W {
        sums[c + l] += f64::from(sum[l]);
        sums[columns + c + l] += f64::from(sum_x[l]);
    }
}
