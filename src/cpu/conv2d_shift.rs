//! Convolution of integers by shifts and flips of sign: tiles of 4 words x 16 channels in registers. A word is x0 + 2^16 x1 of one
//! 8-bit activation of each of two neighbouring pixels, where the parts of such sums fit 16 bits for a while, else one activation;
//! modulo 2^32 a shift, a negation and a sum of words are those of both parts.

use super::conv2d_packed::codes;
use super::lanes::LANES;
use super::tile::put;
use crate::kernels::conv2d_shift::Params;
use rayon::prelude::*;

/// Weights of 16 channels as what is done to a word: shifted left, by 32 or more where the weight is 0, then its bits flipped
/// where `sign` is -1 and not 0.
#[derive(Clone, Copy)]
struct Moves {
    shift: [u32; LANES],
    sign: [i32; LANES],
}

/// 16 columns of weights.
struct Panel {
    moves: Vec<Moves>,
    /// How many flips each part of the sums has, that lacks 1 for each of them.
    flips: Vec<[i32; LANES]>,
}

/// Words of a tile.
const WORDS: usize = 4;

/// y (N, P, Q, K) = ((sum << raise) m + b + 2^(s-1) + (residual << align)) >> s, between limits, of sums over x (N, H, W, C) and the codes w
/// (R, S, C / 4, K / 2).
pub fn conv2d_shift(p: &Params, x: &[u32], w: &[u32], requant: &[u32], residual: &[u32], y: &mut [u32]) {
    let [k, width] = [p.k, p.q].map(|x| x as usize);
    let [s, c, stride] = [p.s, p.c, p.stride].map(|x| x as usize);
    let pitch = (p.w + 2 * p.pad) as usize * c;
    let paired = p.run > 0;
    let part = if paired { (4 * p.run as usize).min(s * c) } else { s * c };
    let panels = panels(w, k, s * c, part);
    rows(p, x, requant, residual, y, |image: &[i32], first, sums: &mut [i32]| {
        let pairs = if paired { pairs(image, stride * c) } else { vec![] };
        let (words, step) = if paired { (&pairs[..], 2 * stride * c) } else { (image, stride * c) };
        for (i, sums) in sums.chunks_exact_mut(width * k).enumerate() {
            let row = Row { start: (first + i) * stride * pitch, step, pitch, len: s * c, part, paired };
            correlate(words, row, &panels, k, sums);
        }
    });
}

/// Words of each activation and the one `step` behind it.
fn pairs(image: &[i32], step: usize) -> Vec<i32> {
    // An image of one pixel may be shorter than a step.
    let (whole, last) = image.split_at(image.len().saturating_sub(step));
    let words = whole.iter().zip(image.iter().skip(step)).map(|(first, second)| first + (second << 16));
    words.chain(last.iter().copied()).collect()
}

/// Panels of the weights (entries, 4, K) of words (entries, K / 2), whose sums over runs of `len` rows are taken in parts of `part`
/// rows.
fn panels(w: &[u32], k: usize, len: usize, part: usize) -> Vec<Panel> {
    let panel = |panel| {
        let mut moves = vec![Moves { shift: [0; LANES], sign: [0; LANES] }; 8 * w.len() / k];
        decode(w, k, panel, &mut moves);
        let parts = moves.chunks_exact(len).flat_map(|run| run.chunks(part));
        let flips = parts.map(|moves| {
            moves.iter().fold([0; LANES], |flips, row| std::array::from_fn(|i| flips[i] - row.sign[i]))
        });
        Panel { flips: flips.collect(), moves }
    };
    (0..k.div_ceil(LANES)).into_par_iter().map(panel).collect()
}

vectorized! {
    /// Columns 16 panel ... of the weights, as rows of 16.
    fn decode(words: &[u32], k: usize, panel: usize, rows: &mut [Moves]) {
        codes(words, k, panel, rows, |moves, codes| {
            *moves = Moves {
                // Of a magnitude of 0 by as much as there is.
                shift: codes.map(|code| (code & 7).wrapping_sub(1)),
                sign: codes.map(|code| -((code >> 3 & 1) as i32)),
            };
        });
    }
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

/// Where a row of pixels reads: word i at `start + i step`, in runs of `len`, `pitch` from one to the next; and how it is summed, in
/// parts of `part` of such a run.
#[derive(Clone, Copy)]
struct Row {
    start: usize,
    step: usize,
    pitch: usize,
    len: usize,
    part: usize,
    paired: bool,
}

vectorized! {
    /// sums (Q, K) of a row of pixels: over runs and l < len of x[run * pitch + l] w[run * len + l][k].
    fn correlate(words: &[i32], row: Row, panels: &[Panel], k: usize, sums: &mut [i32]) {
        let Row { start, step, pitch, len, part, paired } = row;
        for (i, panel) in panels.iter().enumerate() {
            let first = i * LANES;
            let width = LANES.min(k - first);
            let pixels = sums.len() / k;
            let (each, count) = if paired { (2, pixels.div_ceil(2)) } else { (1, pixels) };
            for word in (0..count).step_by(WORDS) {
                // Where there are fewer, the last one is computed again.
                let from: [usize; WORDS] = std::array::from_fn(|i| start + (word + i).min(count - 1) * step);
                // Of the first pixels and of the second ones.
                let mut totals = [[[0i32; LANES]; WORDS]; 2];
                let mut flips = panel.flips.iter();
                for (run, moves) in panel.moves.chunks_exact(len).enumerate() {
                    for (at, moves) in moves.chunks(part).enumerate() {
                        let words: [&[i32]; WORDS] =
                            std::array::from_fn(|i| &words[from[i] + run * pitch + at * part..][..moves.len()]);
                        let mut tile = [*flips.next().expect("counted for each part"); WORDS];
                        for (l, moves) in moves.iter().enumerate() {
                            for i in 0..WORDS {
                                for lane in 0..LANES {
                                    let moved = words[i][l].checked_shl(moves.shift[lane]).unwrap_or(0);
                                    tile[i][lane] = tile[i][lane].wrapping_add(moved ^ moves.sign[lane]);
                                }
                            }
                        }
                        for i in 0..WORDS {
                            for lane in 0..LANES {
                                let sum = tile[i][lane];
                                let low = if paired { sum << 16 >> 16 } else { sum };
                                totals[0][i][lane] += low;
                                totals[1][i][lane] += sum.wrapping_sub(low) >> 16;
                            }
                        }
                    }
                }
                for pixel in (word * each..pixels).take(WORDS * each) {
                    let at = pixel - word * each;
                    let total = &totals[at % each][at / each];
                    put(total, &mut sums[pixel * k + first..][..width], |to, total| *to = total);
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
