//! Folded convolution with packed weights: they are decoded once a call, to the panels that the inner loop reads.

use super::conv2d_folded::fold;
use super::lanes::LANES;
use super::tile::Panels;
use crate::kernels::conv2d_forward::Params;

/// [`super::conv2d_folded::conv2d_folded`] with w (R, S, C / 4, K / 2) as codes.
pub fn conv2d_packed(p: &Params, x: &[f32], w: &[u32], affine: &[f32], residual: &[f32], y: &mut [f32]) {
    fold(p, x, &panels(w, p.k as usize), affine, residual, y);
}

/// The panels of the weights (entries, 4, K) of words (entries, K / 2).
pub(super) fn panels(w: &[u32], k: usize) -> Panels {
    Panels::new(8 * w.len() / k, k, |panel, lanes| decode(w, k, panel, lanes))
}

vectorized! {
    /// Columns 16 panel ... of the weights (entries, 4, K) of words (entries, K / 2), as rows of 16.
    fn decode(words: &[u32], k: usize, panel: usize, lanes: &mut [[f32; LANES]]) {
        let weight = |code: u32| {
            let magnitude = ((1u32 << (code & 7)) >> 1) as i32 as f32;
            f32::from_bits(magnitude.to_bits() | (code & 8) << 28)
        };
        codes(words, k, panel, lanes, |lanes, codes| *lanes = codes.map(weight));
    }
}

/// Lets `put(row, codes)` write columns 16 panel ... of each row; the lowest 4 bits of `codes` are one.
#[inline(always)]
pub(super) fn codes<T>(
    words: &[u32],
    k: usize,
    panel: usize,
    rows: &mut [T],
    put: impl Fn(&mut T, [u32; LANES]),
) {
    let first = panel * LANES / 2;
    let width = (LANES / 2).min(k / 2 - first);
    for (words, rows) in words.chunks_exact(k / 2).zip(rows.as_chunks_mut::<4>().0) {
        let mut own = [0; LANES / 2];
        own[..width].copy_from_slice(&words[first..first + width]);
        for (row, to) in rows.iter_mut().enumerate() {
            put(to, std::array::from_fn(|i| own[i / 2] >> (8 * row + 4 * (i % 2))));
        }
    }
}
