//! Batch-norm gradients, first stage: gathers the output's gradient, and its sums over chunks of rows.

use super::Variant;
use super::UNUSED;
use super::batch_norm::{Shape, THREADS, run, threads};
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! {
    Params {
        /// N H W.
        rows: u32,
        /// C / 4.
        quads: u32,
        /// Rows a chunk.
        chunk: u32,
        relu: u32,
        /// 1: there is a second gradient.
        second: u32,
    }
}
const VARIANTS: &[Variant] = &[Variant { workgroup: THREADS, ..Variant::new("", shader!("batch_norm_backward_reduce")) }];

kernel! {
    batch_norm_backward_reduce(Params) in VARIANTS
    [x: Read F32, stats: Read F32, y: Read F32, second: Read F32, dy: Write F32, partial: Write F32]
}

/// How many chunks the rows are cut into, and of how many rows.
pub fn chunks(shape: &Shape, invocations: usize) -> (usize, usize) {
    let chunk = run(shape.rows, shape.channels, invocations);
    (shape.rows.div_ceil(chunk), chunk)
}

/// dy becomes (dy + second) where y > 0: `both` gradients or dy alone, with `shape.relu` or everywhere. `partial`
/// (chunks, 2, C) are the sums of that and of that times xhat over each chunk. `x`, `y`, `second`, `dy` (rows, C), `stats`
/// (2, C) the batch's mean and variance; what is not used has [`UNUSED`] elements. `invocations` fill the adapter.
#[allow(clippy::too_many_arguments)]
pub fn dispatch(
    label: &str,
    shape: Shape,
    invocations: usize,
    [x, stats, y, second]: [View; 4],
    both: bool,
    dy: View,
    partial: View,
) -> Result<Dispatch> {
    let Shape { rows, channels: c, relu, .. } = shape;
    let (chunks, chunk) = chunks(&shape, invocations);
    let params = Params {
        rows: rows as u32,
        quads: c as u32 / 4,
        chunk: chunk as u32,
        relu: relu.into(),
        second: both.into(),
    };
    let len = rows * c;
    let views = [
        (x, len),
        (stats, 2 * c),
        (y, if relu { len } else { UNUSED }),
        (second, if both { len } else { UNUSED }),
        (dy, len),
        (partial, chunks * 2 * c),
    ];
    KERNEL.dispatch(label, params, &views, threads(rows, c, chunk), len * 5)
}
