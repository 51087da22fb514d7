//! Batch-norm input gradient.

use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::batch_norm_normalize::Params;

kernel! {
    batch_norm_backward(Params)
    [x: Read F32, stats: Read F32, gamma: Read F32, sums: Read F32, dy: Read F32, dx: Write F32]
}

/// dx (rows, C) from `x`, `dy` (rows, C), the batch's `stats` (2, C), `gamma` (C) and the `sums` (2, C) of
/// dy and dy * xhat.
pub fn dispatch(
    label: &str,
    rows: usize,
    [x, stats, gamma, sums]: [View; 4],
    dy: View,
    dx: View,
) -> Result<Dispatch> {
    let c = gamma.len;
    let params = Params { rows: rows as u32, quads: c as u32 / 4 };
    let len = rows * c;
    let views = [(x, len), (stats, 2 * c), (gamma, c), (sums, 2 * c), (dy, len), (dx, len)];
    KERNEL.dispatch(label, params, &views, len / 4, len * 7)
}
