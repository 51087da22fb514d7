//! Cases of the convolutions and the sum of their partial results.

use crate::suite::{EPS, Suite, Tolerance::Bits, Tolerance::Each, Tolerance::Terms, draws};
use shiftnet::kernels::conv2d_forward::{self, Params};
use shiftnet::kernels::sum_partials::Part;
use shiftnet::kernels::{
    BLOCK, UNUSED, accumulating, conv2d_folded, conv2d_input_grad, conv2d_packed, conv2d_weight_grad,
    sum_partials,
};
use shiftnet::method::codec;
use shiftnet::plan::View;
use shiftnet::reference;
use shiftnet::rng::Draws;

/// (n, h, w, c), k, size, stride.
pub type Shape = ([usize; 4], usize, usize, usize);

/// Odd sizes, H and W apart, C and K apart, one image and several,
/// images smaller than the kernel, and more channels than a tile of 64.
const SHAPES: [Shape; 11] = [
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

/// 3 x 3 and stride 1 on images as wide as a power of 2: parts of an image, one, and several at a time, the last of them not
/// there; channels that fill no block of 16.
const DIRECT: [Shape; 13] = [
    ([5, 8, 8, 8], 20, 3, 1),
    ([1, 16, 16, 4], 16, 3, 1),
    ([1, 32, 32, 4], 8, 3, 1),
    ([1, 8, 64, 4], 4, 3, 1),
    ([3, 4, 4, 8], 12, 3, 1),
    ([2, 16, 8, 12], 36, 3, 1),
    ([3, 1, 64, 4], 8, 3, 1),
    ([5, 2, 8, 4], 8, 3, 1),
    ([1, 32, 16, 4], 4, 3, 1),
    ([2, 32, 32, 8], 8, 3, 1),
    ([3, 16, 64, 4], 4, 3, 1),
    ([1, 64, 4, 4], 4, 3, 1),
    ([3, 2, 4, 4], 4, 3, 1),
];

/// Whatever else there may be: sides of up to `side`, channels of up to 4 `quads`, as much as a twin computes in moments.
pub fn random(draws: &mut Draws, count: usize, side: u32, quads: u32) -> Vec<Shape> {
    let mut below = |n: u32| draws.below(n) as usize;
    let shape = || {
        let from = [1 + below(3), 1 + below(side), 1 + below(side), 4 + 4 * below(quads)];
        (from, 4 + 4 * below(quads), [1, 3, 7][below(3)], 1 + below(2))
    };
    std::iter::repeat_with(shape).filter(is_small).take(count).collect()
}

/// What direct variants may fit.
fn random_direct(draws: &mut Draws, count: usize) -> Vec<Shape> {
    let mut below = |n: u32| draws.below(n) as usize;
    let shape = || {
        let from = [1 + below(7), 1 << below(7), 4 << below(5), 4 + 4 * below(12)];
        (from, 4 + 4 * below(16), 3, 1)
    };
    std::iter::repeat_with(shape).filter(is_small).take(count).collect()
}

fn is_small((from, k, size, _): &Shape) -> bool {
    from.iter().product::<usize>() * k * size * size < 20_000_000
}

pub fn add(suite: &mut Suite) {
    let draws = &mut draws("conv");
    let random = random(draws, 24, 12, 7);
    convolutions(suite, draws, SHAPES.into_iter().chain(random), [8, 24, 40]);
    convolutions(suite, draws, DIRECT, [256, 512, 768]);
    sums(suite, draws);
}

/// Other shapes, and chunks of other lengths.
pub fn add_random(suite: &mut Suite, draws: &mut Draws) {
    for (shapes, pixels, most) in [(random(draws, 10, 40, 45), 8, 20), (random_direct(draws, 10), 256, 5)] {
        let chunks = [(); 3].map(|()| pixels * (1 + draws.below(most)));
        convolutions(suite, draws, shapes, chunks);
    }
}

/// One shape, every way: for what has to be compiled for each shape.
pub fn add_one(suite: &mut Suite) {
    let draws = &mut draws("one");
    convolutions(suite, draws, [([3, 10, 13, 20], 36, 3, 2)], [8, 24, 40]);
    convolutions(suite, draws, [([5, 8, 8, 12], 20, 3, 1)], [256, 512, 256]);
}

fn convolutions(
    suite: &mut Suite,
    draws: &mut Draws,
    shapes: impl IntoIterator<Item = Shape>,
    [one, two, three]: [u32; 3],
) {
    for (from, k, size, stride) in shapes {
        let mut conv = Params::new(from, k, size, stride);
        let name = format!("{from:?} to {k}, {size} x {size}, stride {stride}");
        let [n, c] = [from[0], from[3]];
        let out = [n, conv.p as usize, conv.q as usize, k];
        let weight = [size, size, c, k];

        let [x, w] = [suite.normal(draws, &from), suite.normal(draws, &weight)];
        for (chunk, stats) in [(one, true), (two, true), (three, false)] {
            forward(suite, draws, &name, Params { chunk, stats: stats.into(), ..conv }, [x, w]);
        }

        for (chunk, relu, residual) in [(one, false, true), (two, true, false), (three, true, true)] {
            let [relu, residual] = [relu, residual].map(u32::from);
            folded(suite, draws, &name, Params { chunk, relu, residual, ..conv }, [x, w]);
        }

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
}

/// y and, where asked, the statistics of its chunks. y is a sum of R S C products; a mean is off by the mean of what y is off
/// by, and its own `chunk` roundings; M2 by what that does to the squared distances, and its own roundings.
fn forward(suite: &mut Suite, draws: &mut Draws, name: &str, conv: Params, [x, w]: [View; 2]) {
    let terms = (conv.r * conv.s * conv.c) as usize;
    let k = conv.k as usize;
    let y = suite.output(&[conv.n, conv.p, conv.q, conv.k].map(|x| x as usize));
    let [got, magnitudes] = [false, true].map(|absolute| {
        let values =
            |view| suite.values(view).iter().map(|&v: &f32| if absolute { v.abs() } else { v }).collect();
        let [x, w]: [Vec<f32>; 2] = [x, w].map(values);
        let mut y = vec![0.0; conv.y_len()];
        reference::conv2d_forward::conv2d_forward(&Params { stats: 0, ..conv }, &x, &w, &mut y, &mut []);
        y
    });
    let partial = match conv.stats {
        1 => suite.output(&[conv.chunks(), 2, k]),
        _ => suite.normal(draws, &[UNUSED]),
    };
    let mut bounds = Vec::new();
    let size = conv.chunk as usize * k;
    for (y, m) in got.chunks(size).zip(magnitudes.chunks(size)) {
        let count = (y.len() / k) as f64;
        let column = |i: usize| y.iter().skip(i).step_by(k).map(|&y| f64::from(y));
        let off = |i: usize| m.iter().skip(i).step_by(k).map(|&m| terms as f64 * EPS * f64::from(m));
        let mean = |i: usize| column(i).sum::<f64>() / count;
        let mean_off =
            |i: usize| (off(i).sum::<f64>() + count * EPS * column(i).map(f64::abs).sum::<f64>()) / count;
        bounds.extend((0..k).map(mean_off));
        bounds.extend((0..k).map(|i| {
            let (mean, mean_off) = (mean(i), mean_off(i));
            let m2: f64 = column(i).map(|y| (y - mean).powi(2)).sum();
            let moved = column(i).zip(off(i)).map(|(y, off)| {
                let off = off + mean_off;
                2.0 * (y - mean).abs() * off + off * off
            });
            moved.sum::<f64>() + (count + 8.0) * EPS * m2
        }));
    }
    let statistics = if conv.stats == 1 { Each(bounds) } else { Bits };
    let dispatch = conv2d_forward::dispatch("", conv, [x, w], y, partial);
    suite.case(
        format!("{name}, chunk {}, stats {}", conv.chunk, conv.stats),
        dispatch,
        [Terms(terms), statistics],
    );
}

/// A folded convolution with weights as they are, and one with discrete weights as codes. Bounds are those of a sum of R S C
/// products and three more terms.
fn folded(suite: &mut Suite, draws: &mut Draws, name: &str, conv: Params, [x, w]: [View; 2]) {
    let [k, terms] = [conv.k as usize, (conv.r * conv.s * conv.c) as usize];
    let out = [conv.n, conv.p, conv.q, conv.k].map(|x| x as usize);
    let affine = suite.normal(draws, &[2, k]);
    let residual = match conv.residual {
        1 => suite.normal(draws, &out),
        _ => suite.normal(draws, &[UNUSED]),
    };
    let tensors = conv2d_folded::Tensors { affine, residual };
    let discrete: Vec<f32> = (0..conv.w_len())
        .map(|_| f32::from(codec::of_nibble([draws.below(8), draws.below(7) + 9][draws.below(2) as usize])))
        .collect();
    let codes = suite.u32s(&codec::nibbles(&discrete, k).expect("all have codes"));
    for (w, values) in [(w, suite.values(w)), (codes, discrete)] {
        let absolute = |values: &[f32]| values.iter().map(|v| v.abs()).collect::<Vec<f32>>();
        let [x_abs, affine_abs, residual_abs] =
            [x, affine, residual].map(|view| absolute(&suite.values(view)));
        let mut magnitudes = vec![0.0; conv.y_len()];
        let twin = reference::conv2d_folded::conv2d_folded;
        twin(&conv, &x_abs, &absolute(&values), &affine_abs, &residual_abs, &mut magnitudes);
        let bounds = magnitudes.iter().map(|&m| (terms + 3) as f64 * EPS * f64::from(m)).collect();
        let y = suite.output(&out);
        let dispatch = match w == codes {
            true => conv2d_packed::dispatch("", conv, [x, w], tensors, y),
            false => conv2d_folded::dispatch("", conv, [x, w], tensors, y),
        };
        let name = format!("{name}, chunk {}, relu {}, residual {}", conv.chunk, conv.relu, conv.residual);
        suite.case(name, dispatch, [Each(bounds)]);
    }
}

/// Weights whose parts are added, between ones that have none.
fn sums(suite: &mut Suite, draws: &mut Draws) {
    let cases: [&[(usize, usize)]; 4] =
        [&[(1, 4)], &[(3, 300), (2, 64)], &[(7, 1156), (1, 8), (5, 128)], &[(64, 68)]];
    for weights in cases {
        let mut parts = Vec::new();
        let [mut to, mut offset] = [0, 8];
        for &(splits, len) in weights {
            parts.push(Part { to, len, offset, splits });
            // A block that nothing is added to follows each weight.
            to += len.next_multiple_of(BLOCK) + BLOCK;
            offset += splits * len + 4;
        }
        let table = suite.u32s(&sum_partials::table(to, &parts));
        let partial = suite.normal(draws, &[offset]);
        let most = weights.iter().map(|w| w.0).max().expect("there are weights");
        for (adding, share) in [(false, 1), (true, 1), (false, 4), (true, 4)] {
            let y = suite.normal(draws, &[to]);
            let dispatch = sum_partials::dispatch("", table, partial, y, share);
            let dispatch = dispatch.map(|d| if adding { accumulating(&d) } else { d });
            let name = format!("{weights:?}, adding {adding}, {share} that share");
            suite.case(name, dispatch, [Terms(most + 1)]);
        }
    }
}
