//! Global average pool of integers.

use super::conv2d_shift::words;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { n: u32, area: u32, quads: u32, bits: u32, scale: f32 } }
kernel! { global_avg_pool_integer(Params) [x: Read U32, y: Write F32] }

/// y (n, c) = mean of x (n, h, w, c) over h and w, times 2^-exponent.
pub fn dispatch(
    label: &str,
    [n, h, w, c]: [usize; 4],
    bits: u32,
    exponent: i32,
    x: View,
    y: View,
) -> Result<Dispatch> {
    let scale = (2f64.powi(-exponent) / (h * w) as f64) as f32;
    let params = Params { n: n as u32, area: (h * w) as u32, quads: c as u32 / 4, bits, scale };
    let len = n * h * w * c;
    KERNEL.dispatch(label, params, &[(x, words(len, bits)), (y, n * c)], n * c / 4, len)
}
