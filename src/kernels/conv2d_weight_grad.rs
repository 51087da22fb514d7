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

/// Into how many parts the sum over the batch is cut: enough to fill a device with the 4 x 4 blocks of all
/// parts, as long as the partial sums stay small and below `max_binding` bytes.
pub fn splits(params: &Params, max_binding: u64) -> usize {
    const THREADS: usize = 16_384;
    const MOST_BYTES: u64 = 32 << 20;
    let wanted = THREADS.div_ceil(params.w_len() / 16);
    let room = (MOST_BYTES.min(max_binding) / (params.w_len() as u64 * 4)).max(1) as usize;
    let parts = wanted.min(room).clamp(1, params.n as usize);
    // Equal runs of images, none empty.
    let run = (params.n as usize).div_ceil(parts);
    (params.n as usize).div_ceil(run)
}
