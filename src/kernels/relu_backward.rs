//! Gradient of the rectified linear unit.

use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { quads: u32 } }
kernel! { relu_backward(Params) [y: Read F32, dy: Read F32, dx: Write F32] }

/// dx = dy where the forward's output y > 0, else 0; equal sizes, a multiple of 4.
pub fn dispatch(label: &str, y: View, dy: View, dx: View) -> Result<Dispatch> {
    let len = y.len;
    let params = Params { quads: len as u32 / 4 };
    KERNEL.dispatch(label, params, &[(y, len), (dy, len), (dx, len)], len / 4, len)
}
