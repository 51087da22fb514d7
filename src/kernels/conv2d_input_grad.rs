//! Convolution, gradient of the input.

use super::elements;
use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::conv2d_forward::Params;

kernel! { conv2d_input_grad(Params) in ["registers"] [dy: Read F32, w: Read F32, dx: Write F32] }

/// dx (n, h, w, c) from dy (n, p, q, k) and w (r, s, c, k).
pub fn dispatch(label: &str, params: Params, dy: View, w: View, dx: View) -> Result<Dispatch> {
    let views = [(dy, params.y_len()), (w, params.w_len()), (dx, params.x_len())];
    // 8 pixels of one parity x 16 channels an invocation.
    let Params { n, h, w, stride, .. } = params;
    let class = elements(&[n, h.div_ceil(stride), w.div_ceil(stride)]);
    let classes = elements(&[params.stride, params.stride]);
    let invocations = class.div_ceil(8) * (params.c as usize).div_ceil(16) * classes;
    KERNEL.dispatch(label, params, &views, invocations, params.flops())
}
