//! Convolution, gradient of the weight, first stage: partial sums over parts of the batch.

use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::conv2d_forward::Params;

kernel! { conv2d_weight_grad(Params) [x: Read F32, dy: Read F32, partial: Write F32] }

/// `partial` (splits, r, s, c, k): the sum over each of the `params.splits` parts of the images, from
/// x (n, h, w, c) and dy (n, p, q, k). `sum_partials` adds the parts.
pub fn dispatch(label: &str, params: Params, x: View, dy: View, partial: View) -> Result<Dispatch> {
    let len = params.splits as usize * params.w_len();
    let views = [(x, params.x_len()), (dy, params.y_len()), (partial, len)];
    KERNEL.dispatch(label, params, &views, len / 16, params.flops())
}
