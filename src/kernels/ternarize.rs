//! Ternary weights of latents and their layer's mean magnitude.

use super::BLOCK;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { quads: u32, threshold: f32 } }
kernel! { ternarize(Params) [layers: Read U32, means: Read F32, v: Read F32, w: Write F32, changes: Write U32] }

/// What a dispatch reads and writes for `len` weights, a multiple of [`BLOCK`].
#[derive(Clone, Copy, Debug)]
pub struct Tensors {
    /// (len / [`BLOCK`]): the layer of each block.
    pub layers: View,
    /// (layers): the mean magnitudes.
    pub means: View,
    /// (len): the latents.
    pub v: View,
    /// (len): the weights.
    pub w: View,
    /// (layers, 3): see [`super::latent_update::COUNTERS`].
    pub changes: View,
}

/// w = sgn(v) where |v| > `threshold` times the layer's mean magnitude, else 0; counts what went to or from 0.
pub fn dispatch(label: &str, threshold: f32, t: Tensors) -> Result<Dispatch> {
    let len = t.w.len;
    let params = Params { quads: len as u32 / 4, threshold };
    let views =
        [(t.layers, len / BLOCK), (t.means, t.means.len), (t.v, len), (t.w, len), (t.changes, t.changes.len)];
    KERNEL.dispatch(label, params, &views, len / 4, len)
}
