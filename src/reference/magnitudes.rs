//! CPU twin of `shaders/magnitudes.wgsl`.

use crate::kernels::BLOCK;
use crate::kernels::magnitudes::Params;

/// sums = the magnitudes of each block of v.
pub fn magnitudes(p: &Params, v: &[f32], sums: &mut [f32]) {
    debug_assert_eq!(v.len(), p.blocks as usize * BLOCK);
    for (sum, block) in sums.iter_mut().zip(v.chunks_exact(BLOCK)) {
        *sum = block.iter().map(|v| f64::from(v.abs())).sum::<f64>() as f32;
    }
}
