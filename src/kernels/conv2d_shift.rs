//! Convolution of integer activations with weights 0, ±1, ±2 ... ±64, requantized: products are shifts and flips of sign.

use super::conv2d_folded::UNUSED;
use super::conv2d_forward::Params as Conv;
use super::{Kernel, elements};
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
    }
}
kernel! { conv2d_shift(Params) [x: Read U32, w: Read U32, requant: Read U32, residual: Read U32, y: Write U32] }

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
    /// [`crate::deploy::requantize::Requantization`].
    pub fn new(conv: &Conv, bits: u32, [raise, shift, align]: [u32; 3]) -> Params {
        let &Conv { n, h, w, c, p, q, k, r, s, stride, pad, relu, residual, .. } = conv;
        Params { n, h, w, c, p, q, k, r, s, stride, pad, bits, raise, shift, align, relu, residual }
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

    /// Those that sum in registers, 4 pixels x 8 channels each.
    pub(super) fn invocations(&self) -> usize {
        self.pixels().div_ceil(4) * (self.k as usize).div_ceil(8)
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
        kernel.dispatch(label, self, &views, self.invocations(), 2 * self.pixels() * self.weights())
    }
}

/// y = ((sum << raise) m + b + 2^(s-1) (+ residual << align)) >> s, between the limits of its bits, perhaps at least 0, where
/// sum[n, p, q, k] = sum over r, s, c of x[n, p stride + r - pad, q stride + s - pad, c] w[r, s, c, k]. `w` is
/// (R, S, C / 4, K / 2) words as [`crate::method::codec::nibbles`] makes them. Sums must stay in an i32, and so must what
/// [`crate::deploy::requantize`] says.
pub fn dispatch(label: &str, params: Params, [x, w]: [View; 2], t: Tensors, y: View) -> Result<Dispatch> {
    params.dispatch(&KERNEL, label, [x, w], t, y)
}
