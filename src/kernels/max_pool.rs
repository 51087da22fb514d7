//! Max-pool 3x3, stride 2, padding 1: the stem of the ImageNet networks.

use super::elements;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { n: u32, h: u32, w: u32, p: u32, q: u32, quads: u32 } }
kernel! { max_pool(Params) [x: Read F32, y: Write F32, winner: Write U32] }

impl Params {
    /// For x (n, h, w, c).
    pub fn new([n, h, w, c]: [usize; 4]) -> Params {
        let [n, h, w, c] = [n, h, w, c].map(|x| x as u32);
        Params { n, h, w, p: h.div_ceil(2), q: w.div_ceil(2), quads: c / 4 }
    }

    pub(crate) fn x_len(&self) -> usize {
        elements(&[self.n, self.h, self.w, self.quads]) * 4
    }

    pub(crate) fn y_len(&self) -> usize {
        elements(&[self.n, self.p, self.q, self.quads]) * 4
    }
}

/// y (n, p, q, c) = the maximum of each window of x (n, h, w, c); `winner`, of y's size, is its place
/// 3 r + s in the window, the first of equals.
pub fn dispatch(label: &str, params: Params, x: View, y: View, winner: View) -> Result<Dispatch> {
    let len = params.y_len();
    KERNEL.dispatch(label, params, &[(x, params.x_len()), (y, len), (winner, len)], len / 4, len * 9)
}
