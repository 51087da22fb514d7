//! Batch-norm statistics, first stage: mean and M2 of each chunk of rows.

use crate::error::Result;
use crate::plan::{Dispatch, View};

params! {
    /// Shared by the reductions over rows: this one and `batch_norm_backward_reduce`.
    Params {
        /// N H W.
        rows: u32,
        /// C / 4.
        quads: u32,
        /// Rows a chunk.
        chunk: u32,
        chunks: u32,
    }
}
kernel! { batch_norm_stats(Params) [x: Read F32, partial: Write F32] }

/// At most this many chunks: the second stage merges them with one workgroup per 4 channels.
const MOST_CHUNKS: usize = 512;

impl Params {
    /// How `rows` of `channels` are cut.
    pub fn new(rows: usize, channels: usize) -> Params {
        let chunk = rows.div_ceil(MOST_CHUNKS).max(16);
        Params {
            rows: rows as u32,
            quads: channels as u32 / 4,
            chunk: chunk as u32,
            chunks: rows.div_ceil(chunk) as u32,
        }
    }

    pub fn channels(&self) -> usize {
        self.quads as usize * 4
    }

    pub(crate) fn elements(&self) -> usize {
        self.rows as usize * self.channels()
    }

    /// Elements of the partial results: (chunks, 2, C).
    pub fn partial_len(&self) -> usize {
        self.chunks as usize * 2 * self.channels()
    }

    pub(crate) fn invocations(&self) -> usize {
        self.chunks as usize * self.quads as usize
    }
}

/// Writes mean and sum of squared deviations of each chunk of `x` (rows, C) to `partial` (chunks, 2, C).
pub fn dispatch(label: &str, params: Params, x: View, partial: View) -> Result<Dispatch> {
    let views = [(x, params.elements()), (partial, params.partial_len())];
    KERNEL.dispatch(label, params, &views, params.invocations(), params.elements() * 4)
}
