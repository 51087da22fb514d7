//! Convolution, gradient of the input.

use super::variant::{direct, tile};
use super::{Needs, Variant, elements};
use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::conv2d_forward::Params;

const VARIANTS: &[Variant] = &[
    Variant {
        // 8 pixels of one parity x 16 channels an invocation.
        groups: Some(|_, params| (runs(&Params::of(params), 8) * blocks(params)).div_ceil(64)),
        ..Variant::new("registers", shader!("conv2d_input_grad/registers"))
    },
    Variant {
        needs: Needs::Subgroups,
        // 64 pixels of one parity x 16 channels for 8 lanes.
        groups: Some(|_, params| (runs(&Params::of(params), 64) * blocks(params)).div_ceil(8)),
        ..Variant::new("subgroup", shader!("conv2d_input_grad/subgroup"))
    },
    tile!("conv2d_input_grad", 128 x 128, 8 x 8, 4, tiles),
    tile!("conv2d_input_grad", 128 x 64, 8 x 8, 4, tiles),
    tile!("conv2d_input_grad", 64 x 64, 8 x 8, 4, tiles),
    tile!("conv2d_input_grad", 128 x 32, 8 x 4, 4, tiles),
    tile!("conv2d_input_grad", 128 x 16, 8 x 4, 2, tiles),
    tile!("conv2d_input_grad", 32 x 32, 4 x 4, 4, tiles),
    direct!("conv2d_input_grad", 2, tiles),
    direct!("conv2d_input_grad", 1, tiles),
];

/// Workgroups of a `tile` or `direct` variant: BM pixels of one parity x BN channels each.
fn tiles(variant: &Variant, params: &[u8]) -> usize {
    let conv = Params::of(params);
    runs(&conv, variant.constant("BM")) * (conv.c as usize).div_ceil(variant.constant("BN"))
}

kernel! { conv2d_input_grad(Params) in VARIANTS [dy: Read F32, w: Read F32, d_x: Write F32] }

/// dx (n, h, w, c) from dy (n, p, q, k) and w (r, s, c, k).
pub fn dispatch(label: &str, params: Params, dy: View, w: View, dx: View) -> Result<Dispatch> {
    let views = [(dy, params.y_len()), (w, params.w_len()), (dx, params.x_len())];
    KERNEL.dispatch(label, params, &views, 0, params.flops())
}

/// Runs of `len` pixels: each parity has its own.
pub(super) fn runs(conv: &Params, len: usize) -> usize {
    let Params { n, h, w, stride, .. } = *conv;
    let class = elements(&[n, h.div_ceil(stride), w.div_ceil(stride)]);
    class.div_ceil(len) * elements(&[stride, stride])
}

/// Blocks of 16 input channels.
fn blocks(params: &[u8]) -> usize {
    (Params::of(params).c as usize).div_ceil(16)
}
