//! The mean magnitude of each layer's weights.

use super::WORKGROUP;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { layers: u32 } }
kernel! { layer_means(Params) [table: Read U32, sums: Read F32, means: Write F32] }

/// means (layers) = the sums of each layer, of which `table` (layers, 3) has the first one, their number, and the number of
/// weights, over the weights.
pub fn dispatch(label: &str, table: View, sums: View, means: View) -> Result<Dispatch> {
    let layers = means.len;
    let views = [(table, 3 * layers), (sums, sums.len), (means, layers)];
    KERNEL.dispatch(label, Params { layers: layers as u32 }, &views, layers * WORKGROUP as usize, sums.len)
}
