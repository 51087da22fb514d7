//! Input gradient of the linear layer.

use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::linear::Params;

kernel! { linear_input_grad(Params) [dy: Read F32, w: Read F32, d_x: Write F32] }

/// dx (n, c) = dy (n, k) w for w (k, c).
pub fn dispatch(label: &str, params: Params, dy: View, w: View, dx: View) -> Result<Dispatch> {
    let views = [(dy, params.y_len()), (w, params.w_len()), (dx, params.x_len())];
    KERNEL.dispatch(label, params, &views, params.x_len() / 4, params.flops())
}
