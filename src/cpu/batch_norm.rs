//! Batch norm, forward: merges the statistics' chunks once, then passes over the rows once.

use super::lanes::LANES;
use crate::kernels::batch_norm::{EPS, Params};
use rayon::prelude::*;

/// Elements of a task, about: enough that sharing them out costs nothing.
const TASK: usize = 1 << 14;

/// Elements of a task of whole rows.
pub(super) fn task(columns: usize) -> usize {
    (TASK / columns).max(1) * columns
}

/// y (rows, C) = (x - mean) / sqrt(variance + eps) * gamma + beta (+ residual), perhaps rectified; stats (2, C) and
/// running (2, C) from partial (chunks, 2, C).
#[allow(clippy::too_many_arguments)]
pub fn batch_norm(
    p: &Params,
    x: &[f32],
    partial: &[f32],
    gamma: &[f32],
    beta: &[f32],
    residual: &[f32],
    running: &mut [f32],
    stats: &mut [f32],
    y: &mut [f32],
) {
    let columns = p.quads as usize * 4;
    let batch = p.chunks > 0;
    if batch {
        merge(p, partial, running, stats);
    }
    let (mean, variance) = if batch { stats } else { running }.split_at(columns);
    let scale =
        |(&gamma, &variance): (&f32, &f32)| (f64::from(gamma) / (f64::from(variance) + EPS).sqrt()) as f32;
    let scale: Vec<f32> = gamma.iter().zip(variance).map(scale).collect();
    let size = task(columns);
    y.par_chunks_mut(size).enumerate().for_each(|(i, y)| {
        let range = i * size..i * size + y.len();
        let residual = (p.residual == 1).then(|| &residual[range.clone()]);
        normalize(&x[range], residual, mean, &scale, beta, p.relu == 1, y);
    });
}

/// stats (2, C) from partial (chunks, 2, C): the chunks' squared deviations, and those of their means; running moves
/// towards them.
fn merge(p: &Params, partial: &[f32], running: &mut [f32], stats: &mut [f32]) {
    let columns = p.quads as usize * 4;
    let count = f64::from(p.rows);
    let chunks = || {
        let rows = |i: usize| f64::from(p.chunk.min(p.rows - i as u32 * p.chunk));
        partial
            .chunks_exact(2 * columns)
            .enumerate()
            .map(move |(i, chunk)| (rows(i), chunk.split_at(columns)))
    };
    let mut mean = vec![0.0f64; columns];
    for (rows, (means, _)) in chunks() {
        mean.iter_mut().zip(means).for_each(|(sum, &m)| *sum += rows * f64::from(m));
    }
    mean.iter_mut().for_each(|sum| *sum /= count);
    let mut m2 = vec![0.0f64; columns];
    for (rows, (means, m2s)) in chunks() {
        for (((m2, mean), &m), &of_chunk) in m2.iter_mut().zip(&mean).zip(means).zip(m2s) {
            let d = f64::from(m) - mean;
            *m2 += f64::from(of_chunk) + rows * d * d;
        }
    }
    for c in 0..columns {
        let unbiased = m2[c] / (count - 1.0).max(1.0);
        stats[c] = mean[c] as f32;
        stats[columns + c] = (m2[c] / count) as f32;
        running[c] += p.momentum * (mean[c] as f32 - running[c]);
        running[columns + c] += p.momentum * (unbiased as f32 - running[columns + c]);
    }
}

vectorized! {
    /// y (rows, C) = (x - mean) * scale + beta (+ residual), perhaps rectified.
    #[allow(clippy::too_many_arguments)]
    fn normalize(
        x: &[f32],
        residual: Option<&[f32]>,
        mean: &[f32],
        scale: &[f32],
        beta: &[f32],
        relu: bool,
        y: &mut [f32],
    ) {
        match mean.len() % LANES {
            0 => normalize_lanes::<LANES>(x, residual, [mean, scale, beta], relu, y),
            _ => normalize_lanes::<4>(x, residual, [mean, scale, beta], relu, y),
        }
    }
}

#[inline(always)]
fn normalize_lanes<const W: usize>(
    x: &[f32],
    residual: Option<&[f32]>,
    channels: [&[f32]; 3],
    relu: bool,
    y: &mut [f32],
) {
    let [mean, scale, beta] = channels.map(|values| values.as_chunks::<W>().0);
    let width = mean.len();
    let rows = x.as_chunks::<W>().0.chunks_exact(width).zip(y.as_chunks_mut::<W>().0.chunks_exact_mut(width));
    for (row, (x, y)) in rows.enumerate() {
        for i in 0..width {
            let mut value = [0.0; W];
            for l in 0..W {
                value[l] = (x[i][l] - mean[i][l]) * scale[i][l] + beta[i][l];
            }
            if let Some(residual) = residual {
                let residual = &residual[(row * width + i) * W..][..W];
                for l in 0..W {
                    value[l] += residual[l];
                }
            }
            if relu {
                value = value.map(crate::reference::relu);
            }
            y[i] = value;
        }
    }
}
