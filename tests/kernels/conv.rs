//! Cases of the convolutions and the sum of their partial results.

use crate::suite::{Suite, Tolerance::Terms, draws};
use shiftnet::kernels::conv2d_forward::{self, Params};
use shiftnet::kernels::{accumulating, conv2d_input_grad, conv2d_weight_grad, sum_partials};
use shiftnet::rng::Draws;

/// (n, h, w, c), k, size, stride. Odd sizes, H and W apart, C and K apart, one image and several,
/// images smaller than the kernel, and more channels than a tile of 64.
const SHAPES: [([usize; 4], usize, usize, usize); 11] = [
    ([1, 5, 7, 4], 8, 3, 1),
    ([3, 6, 9, 8], 4, 3, 2),
    ([1, 9, 6, 8], 12, 1, 1),
    ([3, 7, 5, 12], 4, 1, 2),
    ([1, 11, 8, 4], 8, 7, 2),
    ([3, 8, 7, 8], 4, 7, 1),
    ([3, 1, 2, 4], 8, 3, 1),
    ([1, 2, 1, 8], 4, 7, 2),
    ([3, 17, 13, 20], 36, 3, 1),
    ([3, 10, 13, 68], 20, 3, 2),
    ([1, 33, 9, 36], 68, 1, 1),
];

/// Whatever else there may be.
fn random(draws: &mut Draws) -> Vec<([usize; 4], usize, usize, usize)> {
    let mut below = |n: u32| draws.below(n) as usize;
    let mut shape = || {
        let from = [1 + below(3), 1 + below(12), 1 + below(12), 4 + 4 * below(7)];
        (from, 4 + 4 * below(7), [1, 3, 7][below(3)], 1 + below(2))
    };
    (0..24).map(|_| shape()).collect()
}

pub fn add(suite: &mut Suite) {
    let draws = &mut draws("conv");
    for (from, k, size, stride) in SHAPES.into_iter().chain(random(draws)) {
        let mut conv = Params::new(from, k, size, stride);
        let name = format!("{from:?} to {k}, {size} x {size}, stride {stride}");
        let [n, c] = [from[0], from[3]];
        let out = [n, conv.p as usize, conv.q as usize, k];
        let weight = [size, size, c, k];

        let [x, w, y] = [suite.normal(draws, &from), suite.normal(draws, &weight), suite.output(&out)];
        let forward = conv2d_forward::dispatch("", conv, x, w, y);
        suite.case(&name, forward, [Terms(size * size * c)]);

        let [dy, dx] = [suite.normal(draws, &out), suite.output(&from)];
        let input_grad = conv2d_input_grad::dispatch("", conv, dy, w, dx);
        suite.case(&name, input_grad, [Terms(size * size * k)]);

        // Equal runs of output rows (n, p), the last perhaps shorter, none empty.
        let rows = n * out[1];
        let run = |splits: usize| rows.div_ceil(splits);
        for splits in [1, 2, 3, rows / 2 + 1, rows].into_iter().filter(|&s| rows.div_ceil(run(s)) == s) {
            conv.splits = splits as u32;
            let partial = suite.output(&[splits, size, size, c, k]);
            let weight_grad = conv2d_weight_grad::dispatch("", conv, x, dy, partial);
            suite.case(format!("{name}, {splits} splits"), weight_grad, [Terms(run(splits) * out[2])]);
        }
    }
    for (splits, len) in [(1, 4), (3, 300), (7, 1156), (64, 68)] {
        let [partial, old] = [[splits, len], [1, len]].map(|shape| suite.normal(draws, &shape));
        let y = suite.output(&[len]);
        let name = format!("{splits} splits of {len}");
        suite.case(&name, sum_partials::dispatch("", splits, partial, y), [Terms(splits)]);
        let adding = sum_partials::dispatch("", splits, partial, old).map(|d| accumulating(&d));
        suite.case(format!("{name}, adding"), adding, [Terms(splits + 1)]);
    }
}
