//! Gradient of the global average pool.

use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::global_avg_pool::Params;

kernel! { global_avg_pool_backward(Params) [dy: Read F32, d_x: Write F32] }

/// dx (n, h, w, c) = dy (n, c) / (h w).
pub fn dispatch(label: &str, params: Params, dy: View, dx: View) -> Result<Dispatch> {
    let len = params.x_len();
    KERNEL.dispatch(label, params, &[(dy, params.y_len()), (dx, len)], len / 4, len)
}
