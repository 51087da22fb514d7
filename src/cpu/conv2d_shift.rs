//! Convolution of integers by shifts and flips of sign: tiles of 4 pixels x 16 channels in registers.

use super::lanes::LANES;
use crate::kernels::conv2d_shift::Params;
use crate::method::codec;
use rayon::prelude::*;

/// Weights of 16 channels as what is done to an activation: shifted left, by 32 where the weight is 0, then negated where
/// `sign` is -1 and not 0.
#[derive(Clone, Copy)]
struct Moves {
    shift: [u32; LANES],
    sign: [i32; LANES],
}

/// Pixels of a tile.
const PIXELS: usize = 4;

/// y (N, P, Q, K) = ((sum << raise) m + b + 2^(s-1) + (residual << align)) >> s, between limits, of sums over x (N, H, W, C) and the codes w
/// (R, S, C / 4, K / 2).
pub fn conv2d_shift(p: &Params, x: &[u32], w: &[u32], requant: &[u32], residual: &[u32], y: &mut [u32]) {
    let panels = panels(w, p.k as usize);
    let [k, row] = [p.k, p.q].map(|x| x as usize);
    let [s, c, stride] = [p.s, p.c, p.stride].map(|x| x as usize);
    let pitch = (p.w + 2 * p.pad) as usize * c;
    rows(p, x, requant, residual, y, |image, first, sums: &mut [i32]| {
        for (i, sums) in sums.chunks_exact_mut(row * k).enumerate() {
            let row = Row { start: (first + i) * stride * pitch, step: stride * c, pitch, len: s * c };
            correlate(image, row, &panels, k, sums);
        }
    });
}

/// Rows of 16 columns of weights, one panel after the other.
fn panels(w: &[u32], k: usize) -> Vec<Vec<Moves>> {
    let weights = codec::from_nibbles(w, k);
    let moves = |row: &[i8]| {
        let weight = |i: usize| row.get(i).copied().unwrap_or(0);
        let shift = |w: i8| if w == 0 { 32 } else { w.unsigned_abs().trailing_zeros() };
        Moves {
            shift: std::array::from_fn(|i| shift(weight(i))),
            sign: std::array::from_fn(|i| if weight(i) < 0 { -1 } else { 0 }),
        }
    };
    let panel = |first| weights.chunks_exact(k).map(|row| moves(&row[first..])).collect();
    (0..k).step_by(LANES).map(panel).collect()
}

/// Lets `sum(image, first, sums)` sum output rows (P) of an image, which it sees with its padding, and writes what becomes of the
/// sums.
pub(super) fn rows<T: From<i16> + Copy + Default + Send, U: ToSum + Copy + Default + Send>(
    p: &Params,
    x: &[u32],
    requant: &[u32],
    residual: &[u32],
    y: &mut [u32],
    sum: impl Fn(&[T], usize, &mut [U]) + Sync,
) {
    let [k, p_len, row] = [p.k, p.p, p.q].map(|x| x as usize);
    let words = p.bits as usize * row * k / 32;
    // Whole images, or rows of them where there are few.
    let run = if p.n >= 16 { p_len } else { p_len.div_ceil(4) };
    let mut tasks = Vec::new();
    let mut rest = y;
    for n in 0..p.n as usize {
        for first in (0..p_len).step_by(run) {
            let (own, tail) = std::mem::take(&mut rest).split_at_mut(run.min(p_len - first) * words);
            tasks.push((n, first, own));
            rest = tail;
        }
    }
    tasks.into_par_iter().for_each_init(
        || (vec![], vec![]),
        |(image, sums): &mut (Vec<T>, Vec<U>), (n, first, y)| {
            padded(p, x, n, image);
            sums.clear();
            sums.resize(y.len() * 32 / p.bits as usize, U::default());
            sum(image, first, sums);
            let at = (n * p_len + first) * words;
            let residual = if p.residual == 1 { &residual[at..][..y.len()] } else { &[] };
            finish(p, sums, requant, residual, y);
        },
    );
}

/// A sum as the integer that it is.
pub(super) trait ToSum {
    fn to_sum(self) -> i32;
}

impl ToSum for i32 {
    fn to_sum(self) -> i32 {
        self
    }
}

impl ToSum for f32 {
    fn to_sum(self) -> i32 {
        self as i32
    }
}

/// Image n of x with its padding: (H + 2 pad, W + 2 pad, C).
fn padded<T: From<i16> + Copy + Default>(p: &Params, x: &[u32], n: usize, image: &mut Vec<T>) {
    let [h, w, c, pad] = [p.h, p.w, p.c, p.pad].map(|x| x as usize);
    let pitch = (w + 2 * pad) * c;
    image.clear();
    image.resize((h + 2 * pad) * pitch, T::default());
    let words = w * c * p.bits as usize / 32;
    for (row, x) in x[n * h * words..][..h * words].chunks_exact(words).enumerate() {
        let to = &mut image[(row + pad) * pitch + pad * c..][..w * c];
        match p.bits {
            8 => to
                .iter_mut()
                .zip(bytemuck::cast_slice::<u32, i8>(x))
                .for_each(|(to, &x)| *to = i16::from(x).into()),
            _ => to.iter_mut().zip(bytemuck::cast_slice::<u32, i16>(x)).for_each(|(to, &x)| *to = x.into()),
        }
    }
}

/// Where a row of pixels reads: pixel q at `start + q step`, in runs of `len`, `pitch` from one to the next.
#[derive(Clone, Copy)]
struct Row {
    start: usize,
    step: usize,
    pitch: usize,
    len: usize,
}

vectorized! {
    /// sums (Q, K) of a row of pixels: over runs and l < len of x[run * pitch + l] w[run * len + l][k].
    fn correlate(x: &[i32], row: Row, panels: &[Vec<Moves>], k: usize, sums: &mut [i32]) {
        let Row { start, step, pitch, len } = row;
        for (panel, w) in panels.iter().enumerate() {
            let first = panel * LANES;
            let width = LANES.min(k - first);
            let pixels = sums.len() / k;
            for pixel in (0..pixels).step_by(PIXELS) {
                // Where there are fewer, the last one is computed again.
                let from: [usize; PIXELS] =
                    std::array::from_fn(|i| start + (pixel + i).min(pixels - 1) * step);
                let mut tile = [[0i32; LANES]; PIXELS];
                for (run, w) in w.chunks_exact(len).enumerate() {
                    let x: [&[i32]; PIXELS] = std::array::from_fn(|i| &x[from[i] + run * pitch..][..len]);
                    for (l, w) in w.iter().enumerate() {
                        for i in 0..PIXELS {
                            for lane in 0..LANES {
                                let moved = x[i][l].checked_shl(w.shift[lane]).unwrap_or(0);
                                tile[i][lane] += (moved ^ w.sign[lane]) - w.sign[lane];
                            }
                        }
                    }
                }
                for (i, tile) in tile.iter().enumerate().take(pixels - pixel) {
                    sums[(pixel + i) * k + first..][..width].copy_from_slice(&tile[..width]);
                }
            }
        }
    }
}

/// What becomes of sums (rows, K): as the shader does it, in 32 bits.
fn finish<U: ToSum + Copy>(p: &Params, sums: &[U], requant: &[u32], residual: &[u32], y: &mut [u32]) {
    let sums: Vec<i32> = sums.iter().map(|sum| sum.to_sum()).collect();
    let table = bytemuck::cast_slice(requant);
    match p.bits {
        8 => finish_bytes(p, &sums, table, bytemuck::cast_slice(residual), bytemuck::cast_slice_mut(y)),
        _ => finish_halves(p, &sums, table, bytemuck::cast_slice(residual), bytemuck::cast_slice_mut(y)),
    }
}

vectorized! {
    fn finish_bytes(p: &Params, sums: &[i32], table: &[i32], residual: &[i8], y: &mut [i8]) {
        finish_rows(p, sums, table, residual, y, |value| value as i8);
    }
}

vectorized! {
    fn finish_halves(p: &Params, sums: &[i32], table: &[i32], residual: &[i16], y: &mut [i16]) {
        finish_rows(p, sums, table, residual, y, |value| value as i16);
    }
}

#[inline(always)]
fn finish_rows<T: Copy + Into<i32>>(
    p: &Params,
    sums: &[i32],
    table: &[i32],
    residual: &[T],
    y: &mut [T],
    narrow: impl Fn(i32) -> T,
) {
    let k = p.k as usize;
    let [least, most] = p.limits().map(|limit| limit as i32);
    let [m, high, low] = [0, 1, 2].map(|row| &table[row * k..][..k]);
    let (left, right) = (p.align.max(16) - 16, 16 - p.align.min(16));
    for (row, (sums, y)) in sums.chunks_exact(k).zip(y.chunks_exact_mut(k)).enumerate() {
        let value = |i: usize, added: i32| {
            let sum = sums[i] << p.raise;
            let low = (sum & 0xffff) * m[i] + low[i];
            let high = (sum >> 16) * m[i] + high[i] + (low >> 16) + ((added << left) >> right);
            (high >> (p.shift - 16)).clamp(least, most)
        };
        match residual.get(row * k..(row + 1) * k) {
            Some(residual) => (0..k).for_each(|i| y[i] = narrow(value(i, residual[i].into()))),
            None => (0..k).for_each(|i| y[i] = narrow(value(i, 0))),
        }
    }
}
