//! Sums of magnitudes of blocks of weights: the first stage of a layer's mean.

use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { blocks: u32 } }
kernel! { magnitudes(Params) [v: Read F32, sums: Write F32] }

/// Weights of a sum.
pub const BLOCK: usize = 64;

/// sums (len / 64) = the sum of |v| (len) over each 64 weights. len is a multiple of 64.
pub fn dispatch(label: &str, v: View, sums: View) -> Result<Dispatch> {
    let blocks = v.len / BLOCK;
    KERNEL.dispatch(label, Params { blocks: blocks as u32 }, &[(v, blocks * BLOCK), (sums, blocks)], blocks, v.len)
}
