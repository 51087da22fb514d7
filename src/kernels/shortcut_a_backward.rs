//! Gradient of shortcut A.

use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::shortcut_a::Params;

kernel! { shortcut_a_backward(Params) [dy: Read F32, d_x: Write F32] }

/// dx (n, h, w, c) from dy (n, p, q, k); pixels that the forward skipped get 0.
pub fn dispatch(label: &str, params: Params, dy: View, dx: View) -> Result<Dispatch> {
    let views = [(dy, params.y_len()), (dx, params.x_len())];
    KERNEL.dispatch(label, params, &views, params.x_len() / 4, 0)
}
