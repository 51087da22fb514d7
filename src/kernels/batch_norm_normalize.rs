//! Batch norm's normalization, with the batch's or the running statistics.

use crate::error::Result;
use crate::plan::{Dispatch, View};

/// PyTorch's `eps`.
pub const EPS: f64 = 1e-5;

params! { Params { rows: u32, quads: u32 } }
kernel! {
    batch_norm_normalize(Params) [x: Read F32, stats: Read F32, gamma: Read F32, beta: Read F32, y: Write F32]
}

/// y = (x - mean) / sqrt(variance + eps) * gamma + beta for `x`, `y` (rows, C), `stats` (2, C): mean and
/// variance, `gamma` and `beta` (C).
pub fn dispatch(label: &str, rows: usize, x: View, stats: View, affine: [View; 2], y: View) -> Result<Dispatch> {
    let c = affine[0].len;
    let params = Params { rows: rows as u32, quads: c as u32 / 4 };
    let views = [(x, rows * c), (stats, 2 * c), (affine[0], c), (affine[1], c), (y, rows * c)];
    KERNEL.dispatch(label, params, &views, rows * c / 4, rows * c * 3)
}
