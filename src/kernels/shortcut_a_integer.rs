//! Shortcut A of integers.

use super::conv2d_shift::words;
use super::{elements, shortcut_a};
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { n: u32, h: u32, w: u32, p: u32, q: u32, c: u32, k: u32, front: u32, bits: u32 } }
kernel! { shortcut_a_integer(Params) [x: Read U32, y: Write U32] }

impl Params {
    /// As [`shortcut_a::Params::new`], for integers of `bits`.
    pub fn new(shape: [usize; 4], k: usize, bits: u32) -> Params {
        let shortcut_a::Params { n, h, w, p, q, c, k, front } = shortcut_a::Params::new(shape, k);
        Params { n, h, w, p, q, c, k, front, bits }
    }
}

/// y (n, p, q, k) from x (n, h, w, c).
pub fn dispatch(label: &str, params: Params, x: View, y: View) -> Result<Dispatch> {
    let Params { n, h, w, p, q, c, k, bits, .. } = params;
    let [from, to] = [[n, h, w, c], [n, p, q, k]].map(|shape| elements(&shape));
    KERNEL.dispatch(label, params, &[(x, words(from, bits)), (y, words(to, bits))], to / 4, 0)
}
