//! Softmax cross-entropy with its gradient, the hits of each image, and the row of the training log.

use super::Step;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! {
    Params {
        n: u32,
        k: u32,
        /// 1 / images of the whole batch.
        scale: f32,
        /// 1: write the log.
        log: u32,
        /// Share of each label that is spread over all classes.
        smoothing: f32,
    }
}
kernel! {
    softmax_cross_entropy(Params)
    [
        step: Read U32, logits: Read F32, labels: Read U32,
        result: Write F32, dlogits: Write F32, history: Write F32, status: Write U32,
    ]
}

/// The label of an image that is only there to fill a batch.
pub const NO_LABEL: u32 = u32::MAX;

/// Rows of the log: the host reads at least this often.
pub const ROWS: usize = 64;

/// Elements of the status; the first is the first step whose loss was not finite, or 0.
pub const STATUS_LEN: usize = 4;

/// What the loss reads and writes beside the logits.
#[derive(Clone, Copy, Debug)]
pub struct Tensors {
    /// [`Step`].
    pub step: View,
    /// (n): class numbers.
    pub labels: View,
    /// (n, 4): loss, top-1 hit, top-5 hit (0 or 1), and the class with the largest logit.
    pub result: View,
    /// ([`ROWS`], 4): mean loss, hits, hits among five, the step.
    pub log: View,
    pub status: View,
}

/// For `logits` (n, k): the `result` of each image, and `dlogits` (n, k), the gradient of the sum of losses over `batch`.
/// While training, with a share of label smoothing (Szegedy et al. 2016; PyTorch's `label_smoothing`), adds the images to row
/// `step.slot` of the log, and sets the status at the first loss that is not finite.
pub fn dispatch(
    label: &str,
    [n, k]: [usize; 2],
    batch: usize,
    train: Option<f32>,
    logits: View,
    t: Tensors,
    dlogits: View,
) -> Result<Dispatch> {
    let params = Params {
        n: n as u32,
        k: k as u32,
        scale: 1.0 / batch as f32,
        log: train.is_some().into(),
        smoothing: train.unwrap_or(0.0),
    };
    let views = [
        (t.step, Step::LEN),
        (logits, n * k),
        (t.labels, n),
        (t.result, n * 4),
        (dlogits, n * k),
        (t.log, ROWS * 4),
        (t.status, STATUS_LEN),
    ];
    // One workgroup, which adds up all images in order.
    KERNEL.dispatch(label, params, &views, 1, n * k * 8)
}
