//! Softmax cross-entropy with its gradient and the top-1 and top-5 hits of each image.

use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { n: u32, k: u32, scale: f32 } }
kernel! {
    softmax_cross_entropy(Params)
    [logits: Read F32, labels: Read U32, result: Write F32, dlogits: Write F32]
}

/// The label of an image that is only there to fill a batch.
pub const NO_LABEL: u32 = u32::MAX;

/// For `logits` (n, k) and `labels` (n): `result` (n, 4) is loss, top-1 hit, top-5 hit (0 or 1) and the
/// class with the largest logit; `dlogits` (n, k) is the gradient of the sum of losses over `batch`.
pub fn dispatch(
    label: &str,
    [n, k]: [usize; 2],
    batch: usize,
    [logits, labels]: [View; 2],
    result: View,
    dlogits: View,
) -> Result<Dispatch> {
    let params = Params { n: n as u32, k: k as u32, scale: 1.0 / batch as f32 };
    let views = [(logits, n * k), (labels, n), (result, n * 4), (dlogits, n * k)];
    KERNEL.dispatch(label, params, &views, n, n * k * 8)
}
