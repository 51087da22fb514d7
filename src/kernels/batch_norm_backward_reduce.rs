//! Batch-norm gradients, first stage: sums of dy and dy * xhat over each chunk of rows.

use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::batch_norm_stats::Params;

kernel! { batch_norm_backward_reduce(Params) [x: Read F32, stats: Read F32, dy: Read F32, partial: Write F32] }

/// `partial` (chunks, 2, C): the sums of dy and of dy * xhat over each chunk of `x`, `dy` (rows, C);
/// `stats` (2, C) are the batch's mean and variance.
pub fn dispatch(
    label: &str,
    params: Params,
    x: View,
    stats: View,
    dy: View,
    partial: View,
) -> Result<Dispatch> {
    let (len, c) = (params.elements(), params.channels());
    let views = [(x, len), (stats, 2 * c), (dy, len), (partial, params.partial_len())];
    KERNEL.dispatch(label, params, &views, params.invocations(), len * 4)
}
