//! Rectified linear unit: y = max(x, 0).

use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { quads: u32 } }
kernel! { relu(Params) [x: Read F32, y: Write F32] }

/// y = max(x, 0), element by element; `x` and `y` have the same size, a multiple of 4.
pub fn dispatch(label: &str, x: View, y: View) -> Result<Dispatch> {
    let len = x.len;
    KERNEL.dispatch(label, Params { quads: len as u32 / 4 }, &[(x, len), (y, len)], len / 4, len)
}
