//! Batch-norm statistics, second stage: merges the chunks and moves the running statistics.

use super::batch_norm_stats::Params as Rows;
use crate::error::Result;
use crate::plan::{Dispatch, View};

/// PyTorch's `momentum`: the batch's weight in the running statistics.
pub const MOMENTUM: f32 = 0.1;

params! { Params { rows: u32, quads: u32, chunk: u32, chunks: u32, momentum: f32 } }
kernel! { batch_norm_finalize(Params) [partial: Read F32, stats: Write F32, running: Write F32] }

/// Merges `partial` (chunks, 2, C) by Chan's formula into `stats` (2, C): mean and biased variance;
/// moves `running` (2, C) towards the batch's mean and unbiased variance.
pub fn dispatch(label: &str, rows: Rows, partial: View, stats: View, running: View) -> Result<Dispatch> {
    let Rows { rows: count, quads, chunk, chunks } = rows;
    let params = Params { rows: count, quads, chunk, chunks, momentum: MOMENTUM };
    let c = rows.channels();
    let views = [(partial, rows.partial_len()), (stats, 2 * c), (running, 2 * c)];
    KERNEL.dispatch(label, params, &views, quads as usize * 64, rows.partial_len() * 4)
}
