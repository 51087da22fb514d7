//! Convolution, forward.

use super::elements;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! {
    /// The shape of a convolution, shared by its three kernels.
    Params {
        n: u32, h: u32, w: u32, c: u32,
        p: u32, q: u32, k: u32,
        r: u32, s: u32,
        stride: u32,
        pad: u32,
        /// Parts that the weight gradient's sum over N P Q is cut into.
        splits: u32,
    }
}
kernel! { conv2d_forward(Params) [x: Read F32, w: Read F32, y: Write F32] }

impl Params {
    /// A `size` x `size` convolution with padding size / 2 from x (n, h, w, c) to k channels; c and k are
    /// multiples of 4.
    pub fn new([n, h, w, c]: [usize; 4], k: usize, size: usize, stride: usize) -> Params {
        let pad = size / 2;
        let out = |x: usize| (x + 2 * pad - size) / stride + 1;
        let [n, h, w, c, p, q, k, r, stride, pad] =
            [n, h, w, c, out(h), out(w), k, size, stride, pad].map(|x| x as u32);
        Params { n, h, w, c, p, q, k, r, s: r, stride, pad, splits: 1 }
    }

    pub fn x_len(&self) -> usize {
        elements(&[self.n, self.h, self.w, self.c])
    }

    pub fn w_len(&self) -> usize {
        elements(&[self.r, self.s, self.c, self.k])
    }

    pub fn y_len(&self) -> usize {
        elements(&[self.n, self.p, self.q, self.k])
    }

    /// 2 N P Q K R S C: what each of the three kernels computes.
    pub fn flops(&self) -> usize {
        2 * elements(&[self.n, self.p, self.q]) * self.w_len()
    }
}

/// y[n, p, q, k] = sum over r, s, c of x[n, p stride + r - pad, q stride + s - pad, c] w[r, s, c, k].
pub fn dispatch(label: &str, params: Params, x: View, w: View, y: View) -> Result<Dispatch> {
    let views = [(x, params.x_len()), (w, params.w_len()), (y, params.y_len())];
    // 8 pixels x 16 channels an invocation.
    let pixels = elements(&[params.n, params.p, params.q]);
    let invocations = pixels.div_ceil(8) * (params.k as usize).div_ceil(16);
    KERNEL.dispatch(label, params, &views, invocations, params.flops())
}
