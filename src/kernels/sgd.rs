//! SGD with momentum and weight decay, for all full-precision parameters at once.

use super::softmax_cross_entropy::STATUS_LEN;
use super::{Hyper, Step};
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { quads: u32, momentum: f32, weight_decay: f32 } }
kernel! { sgd(Params) [step: Read U32, status: Read U32, g: Read F32, v: Write F32, p: Write F32] }

/// g += weight_decay p; v = momentum v + g; p -= step.lr v, for `g`, `v`, `p` of one size, a multiple of 4.
/// Does nothing once `status` is set.
pub fn dispatch(
    label: &str,
    hyper: Hyper,
    [step, status]: [View; 2],
    g: View,
    v: View,
    p: View,
) -> Result<Dispatch> {
    let len = p.len;
    let params = Params { quads: len as u32 / 4, momentum: hyper.momentum, weight_decay: hyper.weight_decay };
    let views = [(step, Step::LEN), (status, STATUS_LEN), (g, len), (v, len), (p, len)];
    KERNEL.dispatch(label, params, &views, len / 4, len * 6)
}
