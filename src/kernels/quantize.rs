//! f32 activations to integers.

use super::conv2d_shift::words;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! {
    Params {
        /// Elements / 4.
        quads: u32,
        /// 8 or 16.
        bits: u32,
        /// A power of two.
        scale: f32,
    }
}
kernel! { quantize(Params) [x: Read F32, y: Write U32] }

/// y = round(x 2^exponent), halves to even, between the limits of `bits`; `len` elements, a multiple of 4.
pub fn dispatch(label: &str, len: usize, bits: u32, exponent: i32, x: View, y: View) -> Result<Dispatch> {
    let params = Params { quads: (len / 4) as u32, bits, scale: 2f32.powi(exponent) };
    KERNEL.dispatch(label, params, &[(x, len), (y, words(len, bits))], len / 4, 2 * len)
}
