//! Shortcut A of He et al. for CIFAR: stride-2 subsampling, zero channels half in front, half behind.

use super::elements;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { n: u32, h: u32, w: u32, p: u32, q: u32, c: u32, k: u32, front: u32 } }
kernel! { shortcut_a(Params) [x: Read F32, y: Write F32] }

impl Params {
    /// From (n, h, w, c) to k channels at half the resolution; (k - c) / 2 must be a multiple of 4.
    pub fn new([n, h, w, c]: [usize; 4], k: usize) -> Params {
        let [n, h, w, c, k] = [n, h, w, c, k].map(|x| x as u32);
        Params { n, h, w, p: h.div_ceil(2), q: w.div_ceil(2), c, k, front: (k - c) / 2 }
    }

    pub(crate) fn x_len(&self) -> usize {
        elements(&[self.n, self.h, self.w, self.c])
    }

    pub(crate) fn y_len(&self) -> usize {
        elements(&[self.n, self.p, self.q, self.k])
    }
}

/// y (n, p, q, k) from x (n, h, w, c).
pub fn dispatch(label: &str, params: Params, x: View, y: View) -> Result<Dispatch> {
    let views = [(x, params.x_len()), (y, params.y_len())];
    KERNEL.dispatch(label, params, &views, params.y_len() / 4, 0)
}
