//! [`super::conv2d_shift`] of 8-bit activations by dot products of 4 bytes.

use super::conv2d_shift::{Params, Tensors};
use crate::error::Result;
use crate::plan::{Dispatch, View};

kernel! { conv2d_dot(Params) [x: Read U32, w: Read U32, requant: Read U32, residual: Read U32, y: Write U32] }

/// As [`super::conv2d_shift::dispatch`]; `params.bits` must be 8.
pub fn dispatch(label: &str, params: Params, [x, w]: [View; 2], t: Tensors, y: View) -> Result<Dispatch> {
    debug_assert_eq!(params.bits, 8);
    params.dispatch(&KERNEL, label, [x, w], t, y)
}
