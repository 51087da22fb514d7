//! CPU twin of `shaders/quantize.wgsl`.

use super::integers::pack;
use crate::kernels::quantize::Params;

/// y = round(x scale), halves to even, between the limits of its bits.
pub fn quantize(p: &Params, x: &[f32], y: &mut [u32]) {
    let most = ((1i32 << (p.bits - 1)) - 1) as f32;
    let value = |&x: &f32| (x * p.scale).round_ties_even().clamp(-most - 1.0, most) as i32;
    y.copy_from_slice(&pack(&x.iter().map(value).collect::<Vec<_>>(), p.bits));
}
