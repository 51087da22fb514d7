//! The ordered second stage of all weight gradients that lie in one buffer.

use super::{BLOCK, WORKGROUP};
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! {
    Params {
        quads: u32,
        accumulate: u32,
        /// Invocations that add the parts of 4 elements.
        share: u32,
    }
}
kernel! { sum_partials(Params) [table: Read U32, partial: Read F32, y: Write F32] }

/// Where the parts of one weight's gradient lie: `splits` parts of `len` elements each, one after the other from
/// `offset` of the partial results, for the elements from `to` of y. `offset` is a multiple of 4, `to` of [`BLOCK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub to: usize,
    pub len: usize,
    pub offset: usize,
    pub splits: usize,
}

/// The table for y of `len` elements: a row for each [`BLOCK`] of them: the offset of its first part and the
/// distance between parts, in quads (4 elements); parts, none where there is nothing to add; quads.
pub fn table(len: usize, parts: &[Part]) -> Vec<u32> {
    let mut table = vec![0; len.div_ceil(BLOCK) * 4];
    for part in parts {
        for from in (0..part.len).step_by(BLOCK) {
            let quads = BLOCK.min(part.len - from) / 4;
            let row = [(part.offset + from) / 4, part.len / 4, part.splits, quads].map(|x| x as u32);
            table[(part.to + from) / BLOCK * 4..][..4].copy_from_slice(&row);
        }
    }
    table
}

/// y (len) = for each block that has a row in `table` (len / [`BLOCK`], 4) the sum of its parts in `partial`, added to y's old
/// value in the `accumulating` form; other blocks are left alone. See [`table`]. `share` invocations, a divisor
/// of [`WORKGROUP`], add the parts of 4 elements.
pub fn dispatch(label: &str, table: View, partial: View, y: View, share: u32) -> Result<Dispatch> {
    let len = y.len;
    debug_assert!(WORKGROUP.is_multiple_of(share));
    let params = Params { quads: len as u32 / 4, accumulate: 0, share };
    let views = [(table, len.div_ceil(BLOCK) * 4), (partial, partial.len), (y, len)];
    KERNEL.dispatch(label, params, &views, share as usize * len / 4, partial.len)
}
