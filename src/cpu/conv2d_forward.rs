//! Convolution, forward: tiles of 6 pixels x 16 channels, which read what they need from the nearest caches.

use super::lanes::LANES;
use super::tile::{Panels, Pixel, correlate};
use super::window::{SCRATCH, Scratch, Window};
use crate::kernels::conv2d_forward::Params;
use rayon::prelude::*;
use std::ops::Range;

/// y (N, P, Q, K) = x (N, H, W, C) * w (R, S, C, K); partial (chunks, 2, K) = mean and M2 of each chunk of y.
pub fn conv2d_forward(p: &Params, x: &[f32], w: &[f32], y: &mut [f32], partial: &mut [f32]) {
    let [k, chunk] = [p.k, p.chunk].map(|x| x as usize);
    let w = Panels::of(w, k);
    let chunks = y.par_chunks_mut(chunk * k).enumerate();
    match p.stats {
        1 => chunks.zip(partial.par_chunks_mut(2 * k)).for_each(|((i, y), partial)| {
            run_of_pixels(p, x, &w, i * chunk, y);
            moments(y, k, partial);
        }),
        _ => chunks.for_each(|(i, y)| run_of_pixels(p, x, &w, i * chunk, y)),
    }
}

/// y (pixels, K) of the pixels (N P Q) from `first` on.
pub(super) fn run_of_pixels(p: &Params, x: &[f32], w: &Panels, first: usize, y: &mut [f32]) {
    let [image, area, k] = [p.h * p.w * p.c, p.p * p.q, p.k].map(|x| x as usize);
    let end = first + y.len() / k;
    let mut scratch = SCRATCH.take();
    let mut begin = first;
    while begin < end {
        let n = begin / area;
        let stop = end.min((n + 1) * area);
        let y = &mut y[(begin - first) * k..(stop - first) * k];
        let pixels = begin - n * area..stop - n * area;
        pixels_of_image(p, &x[n * image..][..image], w, pixels, y, &mut scratch);
        begin = stop;
    }
    SCRATCH.set(scratch);
}

/// y (pixels, K) of the pixels (P Q) `range` of one image.
fn pixels_of_image(
    p: &Params,
    image: &[f32],
    w: &Panels,
    range: Range<usize>,
    y: &mut [f32],
    scratch: &mut Scratch,
) {
    let [c, q, k, s, stride] = [p.c, p.q, p.k, p.s, p.stride].map(|x| x as usize);
    let rows = range.start / q..range.end.div_ceil(q);
    let window = window(p, rows.clone());
    let x = window.of(image, &mut scratch.padded);
    scratch.pixels.clear();
    scratch.pixels.extend(range.enumerate().map(|(i, pixel)| {
        let [row, column] = [pixel / q - rows.start, pixel % q].map(|x| x * stride);
        Pixel { from: row * window.pitch() + column * c, to: i * k }
    }));
    correlate(x, &scratch.pixels, window.pitch(), s * c, w, y);
}

/// What the output rows (P) `rows` of an image read of it.
pub(super) fn window(p: &Params, rows: Range<usize>) -> Window {
    let [h, w, c, r, stride, pad] = [p.h, p.w, p.c, p.r, p.stride, p.pad].map(|x| x as usize);
    Window {
        image: [h, w, c],
        first: [(rows.start * stride) as isize - pad as isize, -(pad as isize)],
        rows: (rows.len() - 1) * stride + r,
        width: w + 2 * pad,
    }
}

vectorized! {
    /// out (2, C) = mean and sum of squared deviations of x (rows, C).
    fn moments(x: &[f32], columns: usize, out: &mut [f32]) {
        let mut c = 0;
        while c + LANES <= columns {
            moments_of_lanes::<LANES>(&x[c..], columns, &mut out[c..]);
            c += LANES;
        }
        while c < columns {
            moments_of_lanes::<4>(&x[c..], columns, &mut out[c..]);
            c += 4;
        }
    }
}

/// Mean and sum of squared deviations of the first `W` of `columns` columns.
#[inline(always)]
fn moments_of_lanes<const W: usize>(x: &[f32], columns: usize, out: &mut [f32]) {
    let count = x.len().div_ceil(columns) as f32;
    let sums = sums_of_lanes::<W, 1>(x, columns, |x, _| [x]);
    let mean: [f32; W] = std::array::from_fn(|i| sums[0][i] / count);
    let sums = sums_of_lanes::<W, 2>(x, columns, |x, i| [x - mean[i], (x - mean[i]) * (x - mean[i])]);
    for i in 0..W {
        // What rounding left of the mean.
        let rest = sums[0][i] / count;
        out[i] = mean[i] + rest;
        out[columns + i] = sums[1][i] - sums[0][i] * rest;
    }
}

/// The sums over rows of `T` terms of each of `W` columns; even and odd rows apart, so that additions overlap.
#[inline(always)]
fn sums_of_lanes<const W: usize, const T: usize>(
    x: &[f32],
    columns: usize,
    terms: impl Fn(f32, usize) -> [f32; T],
) -> [[f32; W]; T] {
    let add = |sums: &mut [[f32; W]; T], row: &[f32]| {
        let row: &[f32; W] = row.first_chunk().expect("rows are long enough");
        for i in 0..W {
            let terms = terms(row[i], i);
            for t in 0..T {
                sums[t][i] += terms[t];
            }
        }
    };
    let (mut even, mut odd) = ([[0.0; W]; T], [[0.0; W]; T]);
    let mut pairs = x.chunks_exact(2 * columns);
    for pair in pairs.by_ref() {
        add(&mut even, pair);
        add(&mut odd, &pair[columns..]);
    }
    pairs.remainder().chunks(columns).for_each(|row| add(&mut even, row));
    for (even, odd) in even.iter_mut().flatten().zip(odd.iter().flatten()) {
        *even += odd;
    }
    even
}
