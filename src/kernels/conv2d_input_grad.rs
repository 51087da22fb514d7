//! Convolution, gradient of the input.

use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::conv2d_forward::Params;

kernel! { conv2d_input_grad(Params) [dy: Read F32, w: Read F32, dx: Write F32] }

/// dx (n, h, w, c) from dy (n, p, q, k) and w (r, s, c, k).
pub fn dispatch(label: &str, params: Params, dy: View, w: View, dx: View) -> Result<Dispatch> {
    let views = [(dy, params.y_len()), (w, params.w_len()), (dx, params.x_len())];
    KERNEL.dispatch(label, params, &views, params.x_len() / 4, params.flops())
}
