//! Gradient of the max-pool.

use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::max_pool::Params;

kernel! { max_pool_backward(Params) [winner: Read U32, dy: Read F32, d_x: Write F32] }

/// dx (n, h, w, c) = the sum of dy (n, p, q, c) over the windows that the pixel won.
pub fn dispatch(label: &str, params: Params, winner: View, dy: View, dx: View) -> Result<Dispatch> {
    let (x_len, y_len) = (params.x_len(), params.y_len());
    KERNEL.dispatch(label, params, &[(winner, y_len), (dy, y_len), (dx, x_len)], x_len / 4, x_len * 2)
}
