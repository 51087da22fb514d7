//! [`super::conv2d_folded`] with weights 0, ±1, ±2 ... ±64 as codes of 4 bits, which it decodes.

use super::Variant;
use super::conv2d_folded::Tensors;
use super::conv2d_forward::{Params, forward_variants};
use super::variant::{direct, tile};
use crate::error::Result;
use crate::plan::{Dispatch, View};

const VARIANTS: &[Variant] = forward_variants!("conv2d_packed");

kernel! {
    conv2d_packed(Params) in VARIANTS
    [x: Read F32, w: Read U32, affine: Read F32, residual: Read F32, y: Write F32]
}

/// As [`super::conv2d_folded::dispatch`], with `w` (R, S, C / 4, K / 2) words as [`crate::method::codec::nibbles`] makes them.
pub fn dispatch(label: &str, params: Params, [x, w]: [View; 2], t: Tensors, y: View) -> Result<Dispatch> {
    let views = [
        (x, params.x_len()),
        (w, params.w_len() / 8),
        (t.affine, 2 * params.k as usize),
        (t.residual, params.residual_len()),
        (y, params.y_len()),
    ];
    KERNEL.dispatch(label, params, &views, 0, params.flops())
}
