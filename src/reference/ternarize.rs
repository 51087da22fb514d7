//! CPU twin of `shaders/ternarize.wgsl`.

use crate::kernels::BLOCK;
use crate::kernels::latent_update::COUNTERS;
use crate::kernels::ternarize::Params;

/// w = sgn(v) where |v| is above its layer's border, else 0; counts what went to or from 0.
pub fn ternarize(p: &Params, layers: &[u32], means: &[f32], v: &[f32], w: &mut [f32], changes: &mut [u32]) {
    for (i, (w, &v)) in w.iter_mut().zip(v).enumerate() {
        let layer = layers[i / BLOCK] as usize;
        let border = p.threshold * means[layer];
        let new = if v > border { 1.0 } else { 0.0 } - if v < -border { 1.0 } else { 0.0 };
        if (*w == 0.0) != (new == 0.0) {
            let count = &mut changes[layer * COUNTERS + 1];
            *count = count.wrapping_add(1);
        }
        *w = new;
    }
}
