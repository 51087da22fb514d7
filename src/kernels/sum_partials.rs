//! The ordered second stage of the weight gradient.

use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { quads: u32, splits: u32, accumulate: u32 } }
kernel! { sum_partials(Params) [partial: Read F32, y: Write F32] }

/// y = sum of the `splits` parts of `partial` (splits, len of y), added to y's old value in the
/// `accumulating` form.
pub fn dispatch(label: &str, splits: usize, partial: View, y: View) -> Result<Dispatch> {
    let len = y.len;
    let params = Params { quads: len as u32 / 4, splits: splits as u32, accumulate: 0 };
    KERNEL.dispatch(label, params, &[(partial, splits * len), (y, len)], len / 4, splits * len)
}
