//! Convolution of integer activations with weights 0, ±1, ±2 ... ±64, requantized: products are shifts and flips of sign.

use super::conv2d_forward::Params as Conv;
use super::variant::tile;
use super::{Kernel, UNUSED, Variant, elements};
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! {
    /// A convolution of integers, shared by its two kernels.
    Params {
        n: u32, h: u32, w: u32, c: u32,
        p: u32, q: u32, k: u32,
        r: u32, s: u32,
        stride: u32,
        pad: u32,
        /// Of an activation: 8 or 16.
        bits: u32,
        /// What sums are shifted left by before they are multiplied.
        raise: u32,
        /// Of the requantization, at least 16.
        shift: u32,
        /// What the residual is shifted left by before the requantization's shift; below 16, what is below 2^16 is dropped.
        align: u32,
        relu: u32, residual: u32,
        /// Of [`run`]; 0 for 16-bit activations.
        run: u32,
    }
}

const VARIANTS: &[Variant] = &[
    Variant { groups: Some(blocks), ..Variant::new("registers", shader!("conv2d_shift/registers")) },
    tile!("conv2d_shift", 256 x 64, 16 x 4, 4, tiles),
    tile!("conv2d_shift", 128 x 64, 16 x 4, 4, tiles),
    tile!("conv2d_shift", 256 x 32, 16 x 4, 4, tiles),
    tile!("conv2d_shift", 64 x 32, 8 x 4, 4, tiles),
    tile!("conv2d_shift", 256 x 16, 8 x 4, 4, tiles),
];

/// Workgroups of `registers`: 4 words x 8 channels an invocation.
fn blocks(_: &Variant, params: &[u8]) -> usize {
    let conv = Params::of(params);
    (conv.pixels().div_ceil(4 * conv.pixels_of_a_word()) * (conv.k as usize).div_ceil(8)).div_ceil(64)
}

/// Workgroups of `tile`: BM / 2 words x BN channels each.
fn tiles(variant: &Variant, params: &[u8]) -> usize {
    let conv = Params::of(params);
    let pixels = variant.constant("BM") / 2 * conv.pixels_of_a_word();
    conv.pixels().div_ceil(pixels) * (conv.k as usize).div_ceil(variant.constant("BN"))
}

kernel! {
    conv2d_shift(Params) in VARIANTS
    [x: Read U32, w: Read U32, requant: Read U32, residual: Read U32, y: Write U32]
}

/// What sums of pairs of 8-bit activations may add up to in half a word, which holds 2 (128 Σ|w|) + Σ(w < 0): the Σ|w| of this many.
const MOST_OF_A_RUN: u32 = 127;

/// Entries whose negative weights a byte can count.
const LONGEST_RUN: usize = 128;

/// How many entries, which are 4 input channels at one tap, sums of pairs of 8-bit activations may run over: for each of the `k`
/// output channels, the magnitudes of the weights (R, S, C, K) of as many entries that follow each other add up to 127 at most. So half a word holds
/// twice the sum, which `shaders/shared/words.wgsl` makes there. 0 where even one entry has more.
pub fn run(weights: &[f32], k: usize) -> u32 {
    let entry = |entry: &[f32], channel: usize| -> u32 {
        entry[channel..].iter().step_by(k).map(|w| w.abs() as u32).sum()
    };
    let longest = |channel: usize| {
        let sums: Vec<u32> = weights.chunks(4 * k).map(|weights| entry(weights, channel)).collect();
        // From each entry on, as far as it goes; what ends with the last entry bounds nothing.
        let (mut shortest, mut end, mut sum) = (sums.len().min(LONGEST_RUN), 0, 0);
        for start in 0..sums.len() {
            while end < sums.len() && sum + sums[end] <= MOST_OF_A_RUN {
                sum += sums[end];
                end += 1;
            }
            if end == sums.len() {
                break;
            }
            shortest = shortest.min(end - start);
            if end == start {
                return 0;
            }
            sum -= sums[start];
        }
        shortest
    };
    (0..k).map(longest).min().unwrap_or(0) as u32
}

/// What a convolution of integers reads beside x and its weights.
#[derive(Clone, Copy, Debug)]
pub struct Tensors {
    /// (3, K): m, and b + 2^(s-1) as its high bits and its low 16.
    pub requant: View,
    /// Like y, or [`UNUSED`] elements.
    pub residual: View,
}

/// Words of `elements` activations of `bits`.
pub fn words(elements: usize, bits: u32) -> usize {
    elements * bits as usize / 32
}

impl Params {
    /// The shape of `conv`, with its ReLU and residual, for activations of `bits`; raise, shift and align are those of a
    /// [`crate::deploy::requantize::Requantization`], and `run` is [`run`] of the weights.
    pub fn new(conv: &Conv, bits: u32, [raise, shift, align]: [u32; 3], run: u32) -> Params {
        let &Conv { n, h, w, c, p, q, k, r, s, stride, pad, relu, residual, .. } = conv;
        let run = if bits == 8 { run } else { 0 };
        Params { n, h, w, c, p, q, k, r, s, stride, pad, bits, raise, shift, align, relu, residual, run }
    }

    /// Two where activations are summed in pairs.
    fn pixels_of_a_word(&self) -> usize {
        if self.run > 0 { 2 } else { 1 }
    }

    /// The smallest and the largest value of y.
    pub fn limits(&self) -> [i64; 2] {
        let most = (1 << (self.bits - 1)) - 1;
        [if self.relu == 1 { 0 } else { -most - 1 }, most]
    }

    /// R S C K.
    pub fn weights(&self) -> usize {
        elements(&[self.r, self.s, self.c, self.k])
    }

    /// From a dispatch's bytes.
    pub(super) fn of(bytes: &[u8]) -> Params {
        bytemuck::pod_read_unaligned(bytes)
    }

    /// The same as that of f32.
    pub(super) fn shape(&self) -> Conv {
        let &Params { n, h, w, c, p, q, k, r, s, stride, pad, relu, residual, .. } = self;
        Conv { n, h, w, c, p, q, k, r, s, stride, pad, splits: 1, chunk: 8, stats: 0, relu, residual }
    }

    /// N P Q.
    pub(super) fn pixels(&self) -> usize {
        elements(&[self.n, self.p, self.q])
    }

    /// Elements of y: N P Q K.
    pub fn outputs(&self) -> usize {
        elements(&[self.n, self.p, self.q, self.k])
    }

    /// A dispatch of `kernel`, which is one of the two.
    pub(super) fn dispatch(
        self,
        kernel: &'static Kernel,
        label: &str,
        [x, w]: [View; 2],
        t: Tensors,
        y: View,
    ) -> Result<Dispatch> {
        let words = |elements| words(elements, self.bits);
        let views = [
            (x, words(elements(&[self.n, self.h, self.w, self.c]))),
            (w, self.weights() / 8),
            (t.requant, 3 * self.k as usize),
            (t.residual, if self.residual == 1 { words(self.outputs()) } else { UNUSED }),
            (y, words(self.outputs())),
        ];
        // Variants count their workgroups.
        kernel.dispatch(label, self, &views, 0, 2 * self.pixels() * self.weights())
    }
}

/// y = ((sum << raise) m + b + 2^(s-1) (+ residual << align)) >> s, between the limits of its bits, perhaps at least 0, where
/// sum[n, p, q, k] = sum over r, s, c of x[n, p stride + r - pad, q stride + s - pad, c] w[r, s, c, k]. `w` is
/// (R, S, C / 4, K / 2) words as [`crate::method::codec::nibbles`] makes them. Sums must stay in an i32, and so must what
/// [`crate::deploy::requantize`] says; `params.run` must be that of the weights.
pub fn dispatch(label: &str, params: Params, [x, w]: [View; 2], t: Tensors, y: View) -> Result<Dispatch> {
    params.dispatch(&KERNEL, label, [x, w], t, y)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of all runs of as many entries, in every channel, magnitudes add up to 127 at most; of some that are longer by one, not.
    #[test]
    fn runs_are_as_long_as_their_sums_allow() {
        const K: usize = 4;
        let mut draws = crate::rng::Draws::new(1, crate::rng::Stream::Init, 0, 0);
        for largest in [0, 1, 3, 5, 6] {
            let weight = |draws: &mut crate::rng::Draws| match draws.below(3) {
                0 => 0.0,
                sign => (3.0 - 2.0 * sign as f32) * (1 << draws.below(largest + 1)) as f32,
            };
            let weights: Vec<f32> = (0..4 * 90 * K).map(|_| weight(&mut draws)).collect();
            let most = |run: usize| -> f32 {
                let sum = |at: usize, k: usize| -> f32 {
                    weights[4 * at * K..4 * (at + run) * K].iter().skip(k).step_by(K).map(|w| w.abs()).sum()
                };
                (0..K).flat_map(|k| (0..=90 - run).map(move |at| sum(at, k))).fold(0.0, f32::max)
            };
            let run = run(&weights, K) as usize;
            assert!(most(run) <= 127.0 && most(run + 1) > 127.0, "{largest}: {run}");
        }
    }

    #[test]
    fn runs_end_with_what_a_byte_counts_and_with_the_weights() {
        assert_eq!(run(&[1.0; 4 * 3 * 8], 8), 3);
        assert_eq!(run(&[0.0; 4 * 500 * 8], 8), 128);
        assert_eq!(run(&[64.0; 4 * 8], 8), 0, "not one entry");
        // In one channel of one entry only.
        let mut weights = [1.0; 4 * 50 * 8];
        weights[4 * 49 * 8 + 5] = 64.0;
        weights[4 * 49 * 8 + 13] = -64.0;
        assert_eq!(run(&weights, 8), 0);
    }
}
