//! Convolution, gradient of the weight, first stage: partial sums over parts of the batch.

use super::elements;
use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::conv2d_forward::Params;

kernel! { conv2d_weight_grad(Params) in ["registers"] [x: Read F32, dy: Read F32, partial: Write F32] }

/// `partial` (splits, r, s, c, k): the sum over each of the `params.splits` runs of output rows (n, p), from
/// x (n, h, w, c) and dy (n, p, q, k). `sum_partials` adds the parts.
pub fn dispatch(label: &str, params: Params, x: View, dy: View, partial: View) -> Result<Dispatch> {
    let len = params.splits as usize * params.w_len();
    let views = [(x, params.x_len()), (dy, params.y_len()), (partial, len)];
    KERNEL.dispatch(label, params, &views, params.splits as usize * tiles(&params), params.flops())
}

/// Invocations of one part: 12 rows x 16 columns each of the (R S C, K) gradient.
fn tiles(params: &Params) -> usize {
    let entries = (params.r * params.s * params.c / 4) as usize;
    entries.div_ceil(3) * (params.k as usize).div_ceil(16)
}

/// Into how many parts the sum over the batch is cut for `invocations` that fill the adapter.
pub fn splits(params: &Params, invocations: usize) -> usize {
    let rows = elements(&[params.n, params.p]);
    let parts = invocations.div_ceil(tiles(params)).clamp(1, rows);
    // Equal runs of rows, none empty.
    rows.div_ceil(rows.div_ceil(parts))
}
