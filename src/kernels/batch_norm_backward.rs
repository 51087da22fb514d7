//! Batch-norm gradients, second stage: dgamma, dbeta and the input's gradient.

use super::Variant;
use super::batch_norm::{Shape, THREADS, run, threads};
use super::batch_norm_backward_reduce::chunks;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! {
    Params {
        /// N H W.
        rows: u32,
        /// C / 4.
        quads: u32,
        chunks: u32,
        /// Rows that a workgroup computes.
        run: u32,
        accumulate: u32,
    }
}
const VARIANTS: &[Variant] = &[Variant { workgroup: THREADS, ..Variant::new("", shader!("batch_norm_backward")) }];

kernel! {
    batch_norm_backward(Params) in VARIANTS
    [
        x: Read F32, stats: Read F32, gamma: Read F32, partial: Read F32, dy: Read F32,
        d_x: Write F32, dgamma: Write F32, dbeta: Write F32,
    ]
}

/// From `partial` (chunks, 2, C), the sums of dy and dy * xhat of `batch_norm_backward_reduce`: dbeta and dgamma (C), which
/// are overwritten or, in the `accumulating` form, added to; and dx (rows, C) from `x`, `dy` (rows, C), the batch's
/// `stats` (2, C) and `gamma` (C). `invocations` fill the adapter.
pub fn dispatch(
    label: &str,
    shape: Shape,
    invocations: usize,
    [x, stats, gamma, partial, dy]: [View; 5],
    dx: View,
    [dgamma, dbeta]: [View; 2],
) -> Result<Dispatch> {
    let Shape { rows, channels: c, .. } = shape;
    let (chunks, _) = chunks(&shape, invocations);
    let run = run(rows, c, invocations);
    let params =
        Params { rows: rows as u32, quads: c as u32 / 4, chunks: chunks as u32, run: run as u32, accumulate: 0 };
    let len = rows * c;
    let views = [
        (x, len),
        (stats, 2 * c),
        (gamma, c),
        (partial, chunks * 2 * c),
        (dy, len),
        (dx, len),
        (dgamma, c),
        (dbeta, c),
    ];
    KERNEL.dispatch(label, params, &views, threads(rows, c, run), len * 7)
}
