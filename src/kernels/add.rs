//! Sum of two tensors: the residual connection, and gradients that meet.

use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { quads: u32 } }
kernel! { add(Params) [a: Read F32, b: Read F32, y: Write F32] }

/// y = a + b, element by element; equal sizes, a multiple of 4.
pub fn dispatch(label: &str, a: View, b: View, y: View) -> Result<Dispatch> {
    let len = a.len;
    let params = Params { quads: len as u32 / 4 };
    KERNEL.dispatch(label, params, &[(a, len), (b, len), (y, len)], len / 4, len)
}
