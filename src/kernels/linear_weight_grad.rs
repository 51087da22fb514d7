//! Weight and bias gradient of the linear layer.

use super::linear::Params as Shape;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { n: u32, c_quads: u32, k: u32, accumulate: u32 } }
kernel! { linear_weight_grad(Params) [x: Read F32, dy: Read F32, dw: Write F32, db: Write F32] }

/// dw (k, c) = dy^T x and db (k) = the column sums of dy, for x (n, c), dy (n, k); in the
/// `accumulating` form they are added to.
pub fn dispatch(
    label: &str,
    shape: Shape,
    x: View,
    dy: View,
    [dw, db]: [View; 2],
) -> Result<Dispatch> {
    let Shape { n, c_quads, k } = shape;
    let params = Params { n, c_quads, k, accumulate: 0 };
    let views =
        [(x, shape.x_len()), (dy, shape.y_len()), (dw, shape.w_len()), (db, k as usize)];
    KERNEL.dispatch(label, params, &views, shape.w_len() / 4, shape.flops())
}
