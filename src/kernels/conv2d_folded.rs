//! Convolution of a network that only infers: with the batch norm folded into a scale and a bias a channel, the residual and
//! the ReLU behind it. Weights are f32.

use super::{UNUSED, Variant};
use super::conv2d_forward::{Params, forward_variants};
use super::variant::{direct, tile};
use crate::error::Result;
use crate::plan::{Dispatch, View};

const VARIANTS: &[Variant] = forward_variants!("conv2d_folded");

kernel! {
    conv2d_folded(Params) in VARIANTS
    [x: Read F32, w: Read F32, affine: Read F32, residual: Read F32, y: Write F32]
}

/// What a folded convolution reads beside x and its weights.
#[derive(Clone, Copy, Debug)]
pub struct Tensors {
    /// (2, K): scale and bias of each channel.
    pub affine: View,
    /// Like y, or [`UNUSED`] elements.
    pub residual: View,
}

impl Params {
    /// Elements of the residual.
    pub(super) fn residual_len(&self) -> usize {
        if self.residual == 1 { self.y_len() } else { UNUSED }
    }
}

/// y = scale (x * w) + bias, with x * w as [`super::conv2d_forward::dispatch`] computes it, a scale and a bias a channel
/// (+ residual), perhaps max(., 0), as `params.residual` and `params.relu` say.
pub fn dispatch(label: &str, params: Params, [x, w]: [View; 2], t: Tensors, y: View) -> Result<Dispatch> {
    let views = [
        (x, params.x_len()),
        (w, params.w_len()),
        (t.affine, 2 * params.k as usize),
        (t.residual, params.residual_len()),
        (y, params.y_len()),
    ];
    KERNEL.dispatch(label, params, &views, 0, params.flops())
}
