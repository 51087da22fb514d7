//! Global average pool.

use super::elements;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { n: u32, area: u32, quads: u32 } }
kernel! { global_avg_pool(Params) [x: Read F32, y: Write F32] }

impl Params {
    /// For x (n, h, w, c).
    pub fn new([n, h, w, c]: [usize; 4]) -> Params {
        Params { n: n as u32, area: (h * w) as u32, quads: c as u32 / 4 }
    }

    pub(crate) fn y_len(&self) -> usize {
        elements(&[self.n, self.quads]) * 4
    }

    pub(crate) fn x_len(&self) -> usize {
        self.y_len() * self.area as usize
    }
}

/// y (n, c) = mean of x (n, h, w, c) over h and w.
pub fn dispatch(label: &str, params: Params, x: View, y: View) -> Result<Dispatch> {
    let len = params.y_len();
    KERNEL.dispatch(label, params, &[(x, params.x_len()), (y, len)], len / 4, params.x_len())
}
