//! The linear layer (PyTorch's weight layout, with bias).

use super::elements;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { n: u32, c_quads: u32, k: u32 } }
kernel! { linear(Params) [x: Read F32, w: Read F32, b: Read F32, y: Write F32] }

impl Params {
    /// n rows, c inputs (a multiple of 4), k outputs.
    pub fn new(n: usize, c: usize, k: usize) -> Params {
        Params { n: n as u32, c_quads: c as u32 / 4, k: k as u32 }
    }

    pub(crate) fn x_len(&self) -> usize {
        elements(&[self.n, self.c_quads]) * 4
    }

    pub(crate) fn w_len(&self) -> usize {
        elements(&[self.k, self.c_quads]) * 4
    }

    pub(crate) fn y_len(&self) -> usize {
        elements(&[self.n, self.k])
    }

    pub(crate) fn flops(&self) -> usize {
        2 * self.n as usize * self.w_len()
    }
}

/// y (n, k) = x (n, c) w^T + b for w (k, c), b (k).
pub fn dispatch(label: &str, params: Params, x: View, [w, b]: [View; 2], y: View) -> Result<Dispatch> {
    let views =
        [(x, params.x_len()), (w, params.w_len()), (b, params.k as usize), (y, params.y_len())];
    KERNEL.dispatch(label, params, &views, params.y_len(), params.flops())
}
