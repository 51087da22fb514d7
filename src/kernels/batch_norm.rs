//! Batch norm, forward: merges the statistics' chunks, normalizes, adds a residual and rectifies.

use super::{UNUSED, Variant};
use super::conv2d_forward::Params as Conv;
use crate::error::Result;
use crate::plan::{Dispatch, View};

/// PyTorch's `eps`.
pub const EPS: f64 = 1e-5;

/// PyTorch's `momentum`: the batch's weight in the running statistics.
pub const MOMENTUM: f32 = 0.1;

params! {
    Params {
        /// N H W.
        rows: u32,
        /// C / 4.
        quads: u32,
        /// Rows of one chunk of the statistics.
        chunk: u32,
        /// 0: the running statistics are used.
        chunks: u32,
        /// Rows that a workgroup normalizes.
        run: u32,
        relu: u32,
        residual: u32,
        momentum: f32,
    }
}
/// Invocations of a workgroup, in this kernel and in those of its gradients: what it merges serves many rows.
pub(super) const THREADS: u32 = 256;

const VARIANTS: &[Variant] = &[Variant { workgroup: THREADS, ..Variant::new("", shader!("batch_norm")) }];

kernel! {
    batch_norm(Params) in VARIANTS
    [
        x: Read F32, partial: Read F32, gamma: Read F32, beta: Read F32, residual: Read F32,
        running: Write F32, stats: Write F32, y: Write F32,
    ]
}

/// What a batch norm reads and writes beside x and y.
#[derive(Clone, Copy, Debug)]
pub struct Tensors {
    /// (chunks, 2, C): mean and sum of squared deviations of each chunk of x; [`UNUSED`] elements where the
    /// running statistics are used.
    pub partial: View,
    /// (C) each: gamma, beta.
    pub affine: [View; 2],
    /// Like x, or [`UNUSED`] elements.
    pub residual: View,
    /// (2, C): mean and variance.
    pub running: View,
    /// (2, C): mean and biased variance of the batch; left alone where the running statistics are used.
    pub stats: View,
}

/// How a batch norm is cut and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub rows: usize,
    pub channels: usize,
    pub relu: bool,
    pub residual: bool,
}

/// y = (x - mean) / sqrt(variance + eps) * gamma + beta (+ residual), perhaps max(., 0), for `x`, `y` (rows, C). With
/// `conv`, mean and variance are the batch's, merged from the chunks that this convolution wrote by Chan's formula;
/// they go to `stats`, and `running` moves towards the mean and the unbiased variance. Else they are `running`.
/// `invocations` fill the adapter.
pub fn dispatch(
    label: &str,
    shape: Shape,
    conv: Option<&Conv>,
    invocations: usize,
    x: View,
    t: Tensors,
    y: View,
) -> Result<Dispatch> {
    let Shape { rows, channels: c, relu, residual } = shape;
    let run = run(rows, c, invocations);
    let params = Params {
        rows: rows as u32,
        quads: c as u32 / 4,
        chunk: conv.map_or(0, |conv| conv.chunk),
        chunks: conv.map_or(0, |conv| conv.chunks() as u32),
        run: run as u32,
        relu: relu.into(),
        residual: residual.into(),
        momentum: MOMENTUM,
    };
    let views = [
        (x, rows * c),
        (t.partial, conv.map_or(UNUSED, Conv::partial_len)),
        (t.affine[0], c),
        (t.affine[1], c),
        (t.residual, if residual { rows * c } else { UNUSED }),
        (t.running, 2 * c),
        (t.stats, 2 * c),
        (y, rows * c),
    ];
    KERNEL.dispatch(label, params, &views, threads(rows, c, run), rows * c * 5)
}

/// Quads (4 channels) that a workgroup works on.
const WIDTH: usize = 16;

/// Rows a workgroup. There are `invocations` / 64 workgroups, or a few for CPU cores: as many as those of other kernels that fill the
/// adapter, each with four times the invocations, as these wait for loads.
pub(super) fn run(rows: usize, channels: usize, invocations: usize) -> usize {
    let blocks = (channels / 4).div_ceil(WIDTH);
    // Every workgroup merges all chunks, so there are few of them, of many rows.
    let runs = ((invocations / 64).max(16) / blocks).max(1);
    rows.div_ceil(runs).max(32)
}

/// Invocations: workgroups for blocks of 16 quads, the fastest, times runs of rows.
pub(super) fn threads(rows: usize, channels: usize, run: usize) -> usize {
    rows.div_ceil(run) * (channels / 4).div_ceil(WIDTH) * THREADS as usize
}
