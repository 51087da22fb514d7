//! Convolution, gradient of the weight, first stage: for blocks of pixels that stay in the nearest caches, tiles of
//! 6 rows (R S C) x 16 channels.

use super::conv2d_forward::window;
use super::tile::{Panels, Rows, outer};
use crate::kernels::conv2d_forward::Params;
use crate::kernels::conv2d_weight_grad::tasks_of_part;
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;

/// Pixels of a block, about.
const BLOCK: usize = 128;

thread_local! {
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { x: vec![], rows: vec![], dy: Panels::EMPTY }) };
}

/// What a task reuses of the ones before it.
#[derive(Default)]
struct Scratch {
    x: Vec<f32>,
    rows: Vec<usize>,
    dy: Panels,
}

/// partial (splits, R, S, C, K) from x (N, H, W, C) and dy (N, P, Q, K).
pub fn conv2d_weight_grad(p: &Params, x: &[f32], dy: &[f32], partial: &mut [f32]) {
    let [r, len] = [p.r, p.s * p.c].map(|x| x as usize);
    let rows = (p.n * p.p) as usize;
    let run = rows.div_ceil(p.splits as usize);
    let block = (BLOCK / p.q as usize).max(1);
    let tasks = tasks_of_part(p);
    let (taps, pieces) = (r / tasks.min(r), tasks.div_ceil(r));
    partial.par_chunks_mut(p.w_len() / tasks).enumerate().for_each(|(i, dw)| {
        let (split, task) = (i / tasks, i % tasks);
        let first = task / pieces * taps;
        let part = Part {
            taps: first..first + taps,
            channels: task % pieces * len / pieces..(task % pieces + 1) * len / pieces,
        };
        dw.fill(0.0);
        let mut scratch = SCRATCH.take();
        let end = ((split + 1) * run).min(rows);
        for begin in (split * run..end).step_by(block) {
            block_of_rows(p, x, dy, begin..end.min(begin + block), &part, dw, &mut scratch);
        }
        SCRATCH.set(scratch);
    });
}

/// What a task computes of the gradient (R, S C, K).
struct Part {
    taps: Range<usize>,
    channels: Range<usize>,
}

/// Adds what the output rows (N P) `rows` give to dw (taps, channels, K) of a `part` of the kernel.
fn block_of_rows(
    p: &Params,
    x: &[f32],
    dy: &[f32],
    rows: Range<usize>,
    part: &Part,
    dw: &mut [f32],
    scratch: &mut Scratch,
) {
    let [c, p_len, q, k, stride] = [p.c, p.p, p.q, p.k, p.stride].map(|x| x as usize);
    let Part { taps, channels } = part;
    let image = (p.h * p.w * p.c) as usize;
    scratch.dy.refill(&dy[rows.start * q * k..rows.end * q * k], k);
    scratch.rows.clear();
    let pitch = window(p, 0..1).pitch();
    let in_place = p.pad == 0;
    let mut len = 0;
    let mut begin = rows.start;
    while begin < rows.end {
        let n = begin / p_len;
        let stop = rows.end.min((n + 1) * p_len);
        let of_image = begin - n * p_len..stop - n * p_len;
        let mut window = window(p, of_image.clone());
        window.first[0] += taps.start as isize;
        window.rows -= p.r as usize - taps.len();
        let first = if in_place {
            n * image + (of_image.start * stride + taps.start) * pitch
        } else {
            let first = len;
            len += window.rows * pitch;
            if scratch.x.len() < len {
                scratch.x.resize(len, 0.0);
            }
            window.copy(&x[n * image..][..image], &mut scratch.x[first..len]);
            first
        };
        scratch.rows.extend((0..of_image.len()).map(|row| first + row * stride * pitch + channels.start));
        begin = stop;
    }
    let x = if in_place { x } else { &scratch.x };
    let rows = Rows { x, rows: &scratch.rows, step: stride * c, width: q };
    outer(rows, pitch, channels.len(), &scratch.dy, dw);
}
