//! Batch-norm gradients, second stage: dgamma and dbeta.

use super::batch_norm_stats::Params as Rows;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { quads: u32, chunks: u32, accumulate: u32 } }
kernel! {
    batch_norm_backward_finalize(Params)
    [partial: Read F32, sums: Write F32, dgamma: Write F32, dbeta: Write F32]
}

/// Adds `partial` (chunks, 2, C) into `sums` (2, C), the sums of dy and dy * xhat, and into dbeta and
/// dgamma (C), which are overwritten or, in the `accumulating` form, added to.
pub fn dispatch(
    label: &str,
    rows: Rows,
    partial: View,
    sums: View,
    [dgamma, dbeta]: [View; 2],
) -> Result<Dispatch> {
    let c = rows.channels();
    let params = Params { quads: rows.quads, chunks: rows.chunks, accumulate: 0 };
    let views = [(partial, rows.partial_len()), (sums, 2 * c), (dgamma, c), (dbeta, c)];
    KERNEL.dispatch(label, params, &views, c / 4 * 64, rows.partial_len())
}
