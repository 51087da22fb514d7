//! Convolution, gradient of the input: for each parity of the pixel, a correlation of dy with those taps that meet it.

use super::lanes::LANES;
use super::tile::{Panels, Pixel, correlate};
use super::window::{SCRATCH, Scratch, Window};
use crate::kernels::conv2d_forward::Params;
use rayon::prelude::*;

/// Pixels of a task, about: what they read of dy stays in the nearest cache.
const TASK: usize = 256;

/// The taps along one axis that meet pixels of one parity: pixel `stride i + parity` gets tap
/// `first + stride (count - 1 - j)` of output pixel `i + low + j`, for j < count.
#[derive(Clone, Copy)]
struct Taps {
    parity: usize,
    first: usize,
    count: usize,
    low: isize,
}

impl Taps {
    fn of(p: &Params, size: usize) -> Vec<Taps> {
        let [stride, pad] = [p.stride, p.pad].map(|x| x as usize);
        let taps = |parity| {
            let first = (parity + pad) % stride;
            let count = size.saturating_sub(first).div_ceil(stride);
            let low = ((parity + pad - first) / stride) as isize - (count as isize - 1);
            Taps { parity, first, count, low }
        };
        (0..stride).map(taps).filter(|taps| taps.count > 0).collect()
    }
}

/// The pixels of one parity in both directions, and the weights that they meet, turned round: rows (taps, K), columns C.
struct Class {
    rows: Taps,
    columns: Taps,
    w: Panels,
}

/// dx (N, H, W, C) = dy (N, P, Q, K) spread by w (R, S, C, K).
pub fn conv2d_input_grad(p: &Params, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let [h, width, c, stride] = [p.h, p.w, p.c, p.stride].map(|x| x as usize);
    let [from, to] = [p.p * p.q * p.k, p.h * p.w * p.c].map(|x| x as usize);
    let [row_taps, column_taps] = [p.r, p.s].map(|size| Taps::of(p, size as usize));
    let classes: Vec<Class> = row_taps
        .iter()
        .flat_map(|&rows| column_taps.iter().map(move |&columns| (rows, columns)))
        .map(|(rows, columns)| Class { rows, columns, w: turned(p, w, rows, columns) })
        .collect();
    let task = Task { p, classes: &classes, rows: &row_taps, columns: &column_taps };
    let rows = (TASK / width).max(1).next_multiple_of(stride).min(h);
    let images = dx.par_chunks_mut(to).zip(dy.par_chunks(from));
    images.for_each(|(dx, dy)| {
        let parts = dx.par_chunks_mut(rows * width * c).enumerate();
        parts.for_each(|(i, dx)| task.run(dy, i * rows, dx));
    });
}

/// The weights of a class: ((taps of rows, taps of columns, K), C) in panels of channels.
fn turned(p: &Params, w: &[f32], rows: Taps, columns: Taps) -> Panels {
    let [c, k, s, stride] = [p.c, p.k, p.s, p.stride].map(|x| x as usize);
    let tap = |taps: Taps, j: usize| taps.first + stride * (taps.count - 1 - j);
    Panels::new(rows.count * columns.count * k, c, |panel, lanes| {
        for (i, lanes) in lanes.chunks_exact_mut(k).enumerate() {
            let [r, s_at] = [tap(rows, i / columns.count), tap(columns, i % columns.count)];
            let w = &w[((r * s + s_at) * c + panel * LANES) * k..];
            let channels = LANES.min(c - panel * LANES);
            for (lane, w) in w.chunks_exact(k).take(channels).enumerate() {
                lanes.iter_mut().zip(w).for_each(|(lanes, &w)| lanes[lane] = w);
            }
        }
    })
}

struct Task<'a> {
    p: &'a Params,
    classes: &'a [Class],
    rows: &'a [Taps],
    columns: &'a [Taps],
}

impl Task<'_> {
    /// dx (rows, W, C) of one image's rows from `first`, a multiple of the stride, on; dy (P, Q, K).
    fn run(&self, dy: &[f32], first: usize, dx: &mut [f32]) {
        let [w, c, p, q, k, stride] =
            [self.p.w, self.p.c, self.p.p, self.p.q, self.p.k, self.p.stride].map(|x| x as usize);
        let rows = dx.len() / (w * c);
        let mut scratch = SCRATCH.take();
        let Scratch { padded, pixels } = &mut scratch;
        if self.classes.len() < stride * stride {
            // Some pixels meet no tap.
            dx.fill(0.0);
        }
        let [[top, bottom], [left, right]] = [self.rows, self.columns].map(span);
        let window = Window {
            image: [p, q, k],
            first: [(first / stride) as isize + top, left],
            rows: (rows.div_ceil(stride) as isize + bottom - top) as usize,
            width: (w.div_ceil(stride) as isize + right - left) as usize,
        };
        let dy = window.of(dy, padded);
        for Class { rows: row_taps, columns, w: weights } in self.classes {
            let corner = (row_taps.low - top) as usize * window.pitch() + (columns.low - left) as usize * k;
            pixels.clear();
            for row in (row_taps.parity..rows).step_by(stride) {
                let from = corner + row / stride * window.pitch();
                pixels.extend(
                    (columns.parity..w)
                        .step_by(stride)
                        .map(|column| Pixel { from: from + column / stride * k, to: (row * w + column) * c }),
                );
            }
            correlate(dy, pixels, window.pitch(), columns.count * k, weights, dx);
        }
        SCRATCH.set(scratch);
    }
}

/// How far the output pixels that pixel i of any parity meets go: from i + the first to i + the second.
fn span(taps: &[Taps]) -> [isize; 2] {
    let low = taps.iter().map(|t| t.low).min();
    let high = taps.iter().map(|t| t.low + t.count as isize - 1).max();
    [low, high].map(|end| end.expect("a kernel has taps"))
}
