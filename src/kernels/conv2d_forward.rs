//! Convolution, forward.

use super::variant::{direct, tile};
use super::{UNUSED, Variant, elements};
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! {
    /// The shape of a convolution, shared by its kernels.
    Params {
        n: u32, h: u32, w: u32, c: u32,
        p: u32, q: u32, k: u32,
        r: u32, s: u32,
        stride: u32,
        pad: u32,
        /// Parts that the weight gradient's sum over N P Q is cut into.
        splits: u32,
        /// Pixels of y (N P Q) in one part of the forward pass, a multiple of 8, for direct variants of BM.
        chunk: u32,
        /// 1: the forward pass writes each part's statistics.
        stats: u32,
        /// 1: what follows it in a network that only infers.
        relu: u32, residual: u32,
    }
}

/// The variants of a kernel whose workgroups have chunks of pixels: `shaders/<stem>/<variant>.wgsl`.
macro_rules! forward_variants {
    ($stem:literal) => {
        &[
            $crate::kernels::Variant {
                groups: Some($crate::kernels::conv2d_forward::blocks_of_invocations),
                ..$crate::kernels::Variant::new(
                    "registers",
                    include_str!(concat!("../../shaders/", $stem, "/registers.wgsl")),
                )
            },
            $crate::kernels::Variant {
                needs: $crate::kernels::Needs::Subgroups,
                groups: Some($crate::kernels::conv2d_forward::blocks_of_lanes),
                ..$crate::kernels::Variant::new(
                    "subgroup",
                    include_str!(concat!("../../shaders/", $stem, "/subgroup.wgsl")),
                )
            },
            tile!($stem, 128 x 128, 8 x 8, 4, $crate::kernels::conv2d_forward::tiles),
            tile!($stem, 128 x 64, 8 x 8, 4, $crate::kernels::conv2d_forward::tiles),
            tile!($stem, 64 x 64, 8 x 8, 4, $crate::kernels::conv2d_forward::tiles),
            tile!($stem, 128 x 32, 4 x 4, 4, $crate::kernels::conv2d_forward::tiles),
            tile!($stem, 128 x 16, 8 x 4, 2, $crate::kernels::conv2d_forward::tiles),
            tile!($stem, 32 x 32, 4 x 4, 4, $crate::kernels::conv2d_forward::tiles),
            direct!($stem, 2, $crate::kernels::conv2d_forward::tiles),
            direct!($stem, 1, $crate::kernels::conv2d_forward::tiles),
        ]
    };
}
pub(super) use forward_variants;

const VARIANTS: &[Variant] = forward_variants!("conv2d_forward");

/// Workgroups of a `registers` variant: a chunk of pixels x 16 channels an invocation.
pub(super) fn blocks_of_invocations(_: &Variant, params: &[u8]) -> usize {
    let conv = Params::of(params);
    (conv.chunks() * (conv.k as usize).div_ceil(16)).div_ceil(64)
}

/// Workgroups of a `subgroup` variant: a chunk of pixels x 16 channels for 8 lanes.
pub(super) fn blocks_of_lanes(_: &Variant, params: &[u8]) -> usize {
    let conv = Params::of(params);
    (conv.chunks() * (conv.k as usize).div_ceil(16)).div_ceil(8)
}

/// Workgroups of a `tile` or `direct` variant: a chunk of pixels x BN channels each.
pub(super) fn tiles(variant: &Variant, params: &[u8]) -> usize {
    let conv = Params::of(params);
    conv.chunks() * (conv.k as usize).div_ceil(variant.constant("BN"))
}

kernel! {
    conv2d_forward(Params) in VARIANTS
    [x: Read F32, w: Read F32, y: Write F32, partial: Write F32]
}

/// Chunks that have statistics, at most: a consumer merges all of them in each of its workgroups.
pub(crate) const MOST_CHUNKS: usize = 1024;

impl Params {
    /// A `size` x `size` convolution with padding size / 2 from x (n, h, w, c) to k channels; c and k are
    /// multiples of 4.
    pub fn new([n, h, w, c]: [usize; 4], k: usize, size: usize, stride: usize) -> Params {
        let pad = size / 2;
        let out = |x: usize| (x + 2 * pad - size) / stride + 1;
        let [n, h, w, c, p, q, k, r, stride, pad] =
            [n, h, w, c, out(h), out(w), k, size, stride, pad].map(|x| x as u32);
        Params { n, h, w, c, p, q, k, r, s: r, stride, pad, splits: 1, chunk: 8, stats: 0, relu: 0, residual: 0 }
    }

    /// This convolution cut into chunks for `invocations` and for a variant, with statistics where asked.
    pub fn cut(self, variant: &Variant, invocations: usize, stats: bool) -> Params {
        let blocks = (self.k as usize).div_ceil(16);
        let most = if stats { MOST_CHUNKS } else { usize::MAX };
        // What a chunk is a multiple of, and how many there are.
        let (unit, chunks) = match variant.family() {
            _ if variant.is_tiled() => (variant.constant("BM"), self.pixels().div_ceil(variant.constant("BM"))),
            // 8 lanes have a chunk; twice as many workgroups as fill the adapter, so that none ends much later.
            "subgroup" => (64, invocations / 4 / blocks),
            _ => (8, invocations / blocks),
        };
        let chunk = self.pixels().div_ceil(chunks.clamp(1, most)).next_multiple_of(unit);
        Params { chunk: chunk as u32, stats: stats.into(), ..self }
    }

    /// From a dispatch's bytes.
    pub fn of(bytes: &[u8]) -> Params {
        bytemuck::pod_read_unaligned(bytes)
    }

    /// N P Q.
    pub fn pixels(&self) -> usize {
        elements(&[self.n, self.p, self.q])
    }

    /// Runs of pixels that have a mean and M2 each: N P Q / chunk, rounded up.
    pub fn chunks(&self) -> usize {
        self.pixels().div_ceil(self.chunk as usize)
    }

    /// Elements of the statistics: (chunks, 2, K).
    pub fn partial_len(&self) -> usize {
        if self.stats == 1 { self.chunks() * 2 * self.k as usize } else { UNUSED }
    }

    /// Elements of x (N, H, W, C).
    pub fn x_len(&self) -> usize {
        elements(&[self.n, self.h, self.w, self.c])
    }

    /// Elements of w (R, S, C, K).
    pub fn w_len(&self) -> usize {
        elements(&[self.r, self.s, self.c, self.k])
    }

    /// Elements of y (N, P, Q, K).
    pub fn y_len(&self) -> usize {
        elements(&[self.n, self.p, self.q, self.k])
    }

    /// 2 N P Q K R S C: what each of the three kernels computes.
    pub fn flops(&self) -> usize {
        2 * self.pixels() * self.w_len()
    }
}

/// y[n, p, q, k] = sum over r, s, c of x[n, p stride + r - pad, q stride + s - pad, c] w[r, s, c, k]; with
/// `params.stats`, also `partial` (chunks, 2, K): mean and sum of squared deviations of each chunk of y (N P Q, K).
pub fn dispatch(label: &str, params: Params, [x, w]: [View; 2], y: View, partial: View) -> Result<Dispatch> {
    let views =
        [(x, params.x_len()), (w, params.w_len()), (y, params.y_len()), (partial, params.partial_len())];
    KERNEL.dispatch(label, params, &views, 0, params.flops())
}
