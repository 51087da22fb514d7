//! The fast forms against the twins, at shapes that no network has.

use super::lanes::PORTABLE;
use super::{conv2d_dot, conv2d_forward, conv2d_input_grad, conv2d_weight_grad};
use crate::kernels::conv2d_forward::Params;
use crate::kernels::conv2d_shift;
use crate::method::codec;
use crate::reference;
use crate::rng::{Draws, Stream};
use std::sync::atomic::Ordering;

/// (n, h, w, c), k, size, stride: H and W apart, C and K apart and no multiples of 16, images smaller than the kernel.
const SHAPES: [([usize; 4], usize, usize, usize); 17] = [
    ([1, 5, 7, 4], 8, 3, 1),
    ([3, 6, 9, 8], 4, 3, 2),
    ([1, 9, 6, 8], 12, 1, 1),
    ([3, 7, 5, 12], 4, 1, 2),
    ([1, 11, 8, 4], 8, 7, 2),
    ([3, 8, 7, 8], 4, 7, 1),
    ([3, 1, 2, 4], 8, 3, 1),
    ([1, 2, 1, 8], 4, 7, 2),
    ([2, 1, 1, 4], 4, 1, 2),
    ([3, 17, 13, 20], 36, 3, 1),
    ([3, 10, 13, 68], 20, 3, 2),
    ([1, 33, 9, 36], 68, 1, 1),
    ([2, 32, 33, 16], 32, 3, 2),
    ([1, 300, 3, 4], 4, 3, 1),
    ([2, 9, 6, 96], 20, 3, 2),
    ([1, 4, 5, 260], 8, 3, 1),
    ([2, 3, 2, 512], 12, 1, 2),
];

type Forward = fn(&Params, &[f32], &[f32], &mut [f32], &mut [f32]);
type Backward = fn(&Params, &[f32], &[f32], &mut [f32]);
type Integers = fn(&conv2d_shift::Params, &[u32], &[u32], &[u32], &[u32], &mut [u32]);

fn normal(draws: &mut Draws, len: usize) -> Vec<f32> {
    (0..len).map(|_| draws.normal()).collect()
}

/// Fails unless each value is within `terms` eps of its expected one, in units of the largest.
fn assert_within_eps(what: &str, got: &[f32], want: &[f32], terms: usize) {
    assert!(!want.is_empty() && got.len() == want.len(), "{what}");
    let scale = want.iter().fold(f32::MIN_POSITIVE, |most, w| most.max(w.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let difference = (got - want).abs() / (scale * f32::EPSILON);
        assert!(difference <= terms as f32, "{what} [{i}]: {got}, expected {want}: {difference} eps");
    }
}

/// In the form that this CPU runs, and in the one that every CPU runs.
#[test]
fn convolutions_are_their_twins() {
    for portable in [false, true] {
        PORTABLE.store(portable, Ordering::Relaxed);
        compare_convolutions();
    }
}

fn compare_convolutions() {
    let mut draws = Draws::new(1, Stream::Synthetic, 0, 0);
    for (from, k, size, stride) in SHAPES {
        let mut p = Params::new(from, k, size, stride);
        let what = format!("{from:?} to {k}, {size} x {size}, stride {stride}");
        let [x, w, dy] = [p.x_len(), p.w_len(), p.y_len()].map(|len| normal(&mut draws, len));
        for chunk in [8, 24, 1 << 20] {
            (p.chunk, p.stats) = (chunk, 1);
            let run = |f: Forward| {
                let [mut y, mut partial] = [p.y_len(), p.partial_len()].map(|len| vec![f32::NAN; len]);
                f(&p, &x, &w, &mut y, &mut partial);
                (y, partial)
            };
            let (got, want) =
                (run(conv2d_forward::conv2d_forward), run(reference::conv2d_forward::conv2d_forward));
            let terms = size * size * from[3];
            assert_within_eps(&format!("{what}: y"), &got.0, &want.0, terms);
            assert_within_eps(
                &format!("{what}: statistics"),
                &got.1,
                &want.1,
                2 * terms + chunk.min(1000) as usize,
            );
        }
        let run = |f: Backward| {
            let mut dx = vec![f32::NAN; p.x_len()];
            f(&p, &dy, &w, &mut dx);
            dx
        };
        let [got, want] =
            [conv2d_input_grad::conv2d_input_grad, reference::conv2d_input_grad::conv2d_input_grad].map(run);
        assert_within_eps(&format!("{what}: dx"), &got, &want, size * size * k);
        let rows = (p.n * p.p) as usize;
        for splits in [1, 2, 3, rows] {
            p.splits = rows.div_ceil(rows.div_ceil(splits)) as u32;
            let run = |f: Backward| {
                let mut partial = vec![f32::NAN; p.w_len() * p.splits as usize];
                f(&p, &x, &dy, &mut partial);
                partial
            };
            let [got, want] =
                [conv2d_weight_grad::conv2d_weight_grad, reference::conv2d_weight_grad::conv2d_weight_grad]
                    .map(run);
            assert_within_eps(&format!("{what}: dw, {splits} splits"), &got, &want, p.pixels());
        }
    }
}

/// Sums past 2^24, which f32 rounds, are right to the last unit: here those of an even and of an odd number, each just below
/// what the next or the last result begins at.
#[test]
fn dot_products_are_exact_where_f32_is_not() {
    const C: usize = 2056;
    let conv = Params::new([1, 1, 2, C], 4, 1, 1);
    let p = conv2d_shift::Params::new(&conv, 8, [0, 16, 16], 0);
    // The first channel adds its activation, all others -128 times 64.
    let weights: Vec<f32> = (0..C * 4).map(|i| if i < 4 { 1.0 } else { 64.0 }).collect();
    let w = codec::nibbles(&weights, 4).expect("all have codes");
    let first = [1, 2];
    let x: Vec<i32> = (0..2 * C).map(|i| if i % C == 0 { first[i / C] } else { -128 }).collect();
    let x = reference::integers::pack(&x, 8);
    let sums = first.map(|first| i64::from(first) - 128 * 64 * (C as i64 - 1));
    assert!(sums.iter().all(|sum| *sum < -(1 << 24)));
    // Of the two columns of each sum one is 0 from it on, the other until it.
    const M: i64 = 32_767;
    let biases = sums.map(|sum| [-sum * M, -sum * M + 65_536 - M]).concat();
    let column = |f: fn(i64) -> i64| biases.iter().map(|&b| f(b) as u32).collect::<Vec<u32>>();
    let requant = [vec![M as u32; 4], column(|b| b >> 16), column(|b| b & 0xffff)].concat();
    let run = |f: Integers| {
        let mut y = vec![0; 2];
        f(&p, &x, &w, &requant, &[], &mut y);
        reference::integers::unpack(&y, 8)
    };
    let want = run(reference::conv2d_dot::conv2d_dot);
    assert_eq!((&want[..2], &want[6..]), (&[0, 0][..], &[0, 0][..]));
    assert_eq!(run(conv2d_dot::conv2d_dot), want);
}
