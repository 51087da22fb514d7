//! [`super::conv2d_shift`] of 8-bit activations by dot products of 4 bytes.

use super::Variant;
use super::conv2d_shift::{Params, Tensors};
use super::variant::tile;
use crate::error::Result;
use crate::plan::{Dispatch, View};

const VARIANTS: &[Variant] = &[
    Variant { groups: Some(blocks), ..Variant::new("registers", shader!("conv2d_dot/registers")) },
    tile!("conv2d_dot", 128 x 128, 8 x 8, 8, tiles),
    tile!("conv2d_dot", 128 x 64, 8 x 4, 8, tiles),
    tile!("conv2d_dot", 64 x 64, 8 x 4, 8, tiles),
    tile!("conv2d_dot", 128 x 32, 8 x 4, 4, tiles),
    tile!("conv2d_dot", 128 x 16, 4 x 4, 4, tiles),
    tile!("conv2d_dot", 32 x 32, 4 x 4, 8, tiles),
];

/// Workgroups of `registers`: 4 pixels x 8 channels an invocation.
fn blocks(_: &Variant, params: &[u8]) -> usize {
    let conv = Params::of(params);
    (conv.pixels().div_ceil(4) * (conv.k as usize).div_ceil(8)).div_ceil(64)
}

/// Workgroups of `tile`: BM pixels x BN channels each.
fn tiles(variant: &Variant, params: &[u8]) -> usize {
    let conv = Params::of(params);
    conv.pixels().div_ceil(variant.constant("BM")) * (conv.k as usize).div_ceil(variant.constant("BN"))
}

kernel! {
    conv2d_dot(Params) in VARIANTS
    [x: Read U32, w: Read U32, requant: Read U32, residual: Read U32, y: Write U32]
}

/// As [`super::conv2d_shift::dispatch`]; `params.bits` must be 8.
pub fn dispatch(label: &str, params: Params, [x, w]: [View; 2], t: Tensors, y: View) -> Result<Dispatch> {
    debug_assert_eq!(params.bits, 8);
    params.dispatch(&KERNEL, label, [x, w], t, y)
}
