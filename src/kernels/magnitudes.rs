//! Sums of magnitudes of blocks of weights: the first stage of a layer's mean.

use super::BLOCK;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { blocks: u32 } }
kernel! { magnitudes(Params) [v: Read F32, sums: Write F32] }

/// sums (len / [`BLOCK`]) = the sum of |v| (len) over each block of weights. len is a multiple of it.
pub fn dispatch(label: &str, v: View, sums: View) -> Result<Dispatch> {
    let blocks = v.len / BLOCK;
    KERNEL.dispatch(label, Params { blocks: blocks as u32 }, &[(v, blocks * BLOCK), (sums, blocks)], blocks, v.len)
}
