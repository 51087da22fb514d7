//! The S³ update, for every S³ weight of the network at once.

use super::softmax_cross_entropy::STATUS_LEN;
use super::{Hyper, Step};
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! {
    Params {
        quads: u32,
        /// T: shift latents a weight, at most 30.
        shifts: u32,
        momentum: f32,
        weight_decay: f32,
        alpha: f32,
    }
}
kernel! {
    s3_update(Params)
    [
        step: Read U32, status: Read U32, layers: Read U32, dw: Read F32,
        momenta: Write F32, latents: Write F32, w: Write F32, flips: Write U32,
    ]
}

/// The tensors of one range of weights: `len` weights, a multiple of 64.
#[derive(Clone, Copy, Debug)]
pub struct Tensors {
    /// (len / 64): the layer of each 64 weights.
    pub layers: View,
    /// (len): dL/dw.
    pub dw: View,
    /// (2 + T, len).
    pub momenta: View,
    /// (2 + T, len): sign, sparse, t1 ... tT.
    pub latents: View,
    /// (len): the discrete weights.
    pub w: View,
    /// (layers): signs flipped so far, wrapping.
    pub flips: View,
}

/// From dL/dw to new latents, `shifts` (T) of them shifting, and weights: chain rule (straight-through estimator), dense-weight
/// regularizer, weight decay, momentum, step. Does nothing once `status` is set. Li et al. 2021, section 3.
pub fn dispatch(label: &str, shifts: usize, hyper: Hyper, [step, status]: [View; 2], t: Tensors) -> Result<Dispatch> {
    let len = t.w.len;
    let planes = (2 + shifts) * len;
    let params = Params {
        quads: len as u32 / 4,
        shifts: shifts as u32,
        momentum: hyper.momentum,
        weight_decay: hyper.weight_decay,
        alpha: hyper.alpha,
    };
    let views = [
        (step, Step::LEN),
        (status, STATUS_LEN),
        (t.layers, len / 64),
        (t.dw, len),
        (t.momenta, planes),
        (t.latents, planes),
        (t.w, len),
        (t.flips, t.flips.len),
    ];
    KERNEL.dispatch(label, params, &views, len / 4, planes * 8)
}
