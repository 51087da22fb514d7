//! The fast forms against the twins, at shapes that no network has.

use super::lanes::PORTABLE;
use super::{conv2d_forward, conv2d_input_grad, conv2d_weight_grad};
use crate::kernels::conv2d_forward::Params;
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
