//! Cases of the batch norm.

use crate::suite::{EPS, Suite, Tolerance::Bits, Tolerance::Each, draws};
use shiftnet::engine::Target;
use shiftnet::kernels::batch_norm::{Shape, Tensors};
use shiftnet::kernels::conv2d_forward::Params as Conv;
use shiftnet::kernels::*;
use shiftnet::plan::{Elem, List, Plan, Role, View};
use shiftnet::rng::Draws;
use std::sync::Arc;

/// (n, h, w, c), mean and standard deviation of x, invocations that fill the adapter, rows that a chunk of the statistics has.
type Case = ([usize; 4], f32, f32, usize, usize);

/// Runs of 32 rows and of more, a last run and a last chunk that are shorter, more chunks than the
/// invocations that merge them, and than they merge at once, by few quads and by many, more quads than a workgroup takes and not a
/// multiple of them, numbers of quads that leave invocations without work, and a mean so far from 0 that E[x^2] - E[x]^2 would
/// lose all digits in f32.
const CASES: [Case; 10] = [
    ([3, 7, 5, 8], 0.5, 1.5, 512, 8),
    ([1, 3, 2, 12], 0.0, 1.0, 512, 16),
    ([1, 4, 4, 4], -2.0, 0.01, 64, 8),
    ([3, 25, 23, 4], 100.0, 1.0, 16_384, 8),
    ([2, 17, 21, 68], 0.25, 2.0, 4096, 8),
    ([2, 20, 21, 12], -1.0, 1.0, 4096, 8),
    ([3, 41, 43, 16], 0.5, 1.0, 16_384, 16),
    ([3, 31, 47, 8], 100.0, 1.0, 4096, 40),
    ([1, 9, 8, 200], -1.0, 2.0, 1024, 8),
    ([3, 35, 33, 64], 0.5, 1.0, 16_384, 24),
];

pub fn add(suite: &mut Suite) {
    cases(suite, &mut draws("norm"), CASES);
}

/// Other shapes, distributions, chunks and adapters.
pub fn add_random(suite: &mut Suite, draws: &mut Draws) {
    let case = || {
        let mut below = |n: u32| draws.below(n) as usize;
        let quads = [3, 20, 90][below(3)];
        let from = [1 + below(5), 1 + below(50), 1 + below(50), 4 + 4 * below(quads)];
        let [mean, std] = [[0.0, 0.5, -2.0, 100.0][below(4)], [0.5, 1.0, 2.0][below(3)]];
        (from, mean, std, 64 << below(10), 8 * (1 + below(8)))
    };
    let small = |(from, ..): &Case| from.iter().product::<usize>() < 200_000 && from[..3] != [1, 1, 1];
    let random: Vec<Case> = std::iter::repeat_with(case).filter(small).take(8).collect();
    cases(suite, draws, random);
}

fn cases(suite: &mut Suite, draws: &mut Draws, cases: impl IntoIterator<Item = Case>) {
    for (from, mean, std, invocations, chunk) in cases {
        let (rows, channels) = (from[..3].iter().product(), from[3]);
        let x = suite.f32s(&from, || mean + std * draws.normal());
        // A 1 x 1 convolution would write as many rows.
        let conv = Conv { chunk: chunk as u32, stats: 1, ..Conv::new(from, channels, 1, 1) };
        for (relu, residual) in [(false, false), (true, false), (true, true), (false, true)] {
            let shape = Shape { rows, channels, relu, residual };
            let name = format!("{from:?}, mean {mean}, std {std}, relu {relu}, residual {residual}");
            for batch in [true, false] {
                let conv = Some(&conv).filter(|_| batch);
                let name = format!("{name}, batch {batch}");
                forward(suite, draws, &name, shape, conv, invocations, x, [mean, std]);
            }
            // The second gradient goes with the residual, to have each with and without.
            backward(suite, draws, &name, shape, invocations, x, [mean, std]);
        }
    }
}

/// (2, C): means near `mean` and variances near `std` squared, one of them no larger than eps.
fn statistics(suite: &mut Suite, draws: &mut Draws, c: usize, [mean, std]: [f32; 2]) -> View {
    let mut i = 0;
    suite.f32s(&[2, c], || {
        i += 1;
        match i {
            i if i <= c => mean + 0.1 * std * draws.normal(),
            i if i == c + 3 => 1e-5,
            _ => std * std * draws.range(0.5, 2.0),
        }
    })
}

/// 1 / sqrt(variance + eps) in f32: one rounding of the sum, 3 ULP of WGSL's square root and 2.5 of its division.
const INVERSE: f64 = 8.0 * EPS;

fn inverse(variance: f64) -> f64 {
    1.0 / (variance + 1e-5).sqrt()
}

/// The merged statistics of chunks, as (mean, biased variance), and how far f32 may be off in each.
///
/// Each merge rounds the mean once, so the mean is off by at most d = chunks * EPS * max |mean|. The variance has its own
/// chunks * EPS, and what d does to the squared distances between means that lie up to s apart: 2 s d + d^2.
fn merged(values: &[f32], c: usize, conv: &Conv, rows: usize) -> Vec<[f64; 4]> {
    let chunk = conv.chunk as usize;
    let of_channel = |i: usize| {
        let column = |i: usize| values.iter().skip(i).step_by(2 * c).map(|&x| f64::from(x));
        let counts = || (0..rows).step_by(chunk).map(|first| chunk.min(rows - first) as f64);
        let mean = column(i).zip(counts()).map(|(mean, n)| mean * n).sum::<f64>() / rows as f64;
        let between: f64 = column(i).zip(counts()).map(|(m, n)| (m - mean).powi(2) * n).sum();
        let variance = (column(c + i).sum::<f64>() + between) / rows as f64;
        let [low, high] = column(i).fold([f64::MAX, f64::MIN], |[low, high], x| [low.min(x), high.max(x)]);
        let (size, spread) = (low.abs().max(high.abs()), high - low);
        let rounded = EPS * (counts().count() as f64 + 8.0);
        let off = rounded * size;
        [mean, variance, off, rounded * variance + 2.0 * spread * off + off * off]
    };
    (0..c).map(of_channel).collect()
}

/// |x - mean| gamma / sqrt(variance + eps) and |beta| and the residual, each with INVERSE and the roundings of its sum, and
/// what the statistics are off by.
#[allow(clippy::too_many_arguments)]
fn forward(
    suite: &mut Suite,
    draws: &mut Draws,
    name: &str,
    shape: Shape,
    conv: Option<&Conv>,
    invocations: usize,
    x: View,
    at: [f32; 2],
) {
    let Shape { rows, channels: c, relu, residual } = shape;
    let [mean, std] = at;
    let mut i = 0;
    let partial = match conv {
        None => suite.normal(draws, &[UNUSED]),
        Some(conv) => suite.f32s(&[conv.chunks(), 2, c], || {
            i += 1;
            let is_mean = (i - 1) % (2 * c) < c;
            let spread = conv.chunk as f32 * std * std * draws.range(0.5, 2.0);
            if is_mean { mean + std * draws.normal() } else { spread }
        }),
    };
    let affine = [1.0, 0.0].map(|at| suite.f32s(&[c], || at + 0.5 * draws.normal()));
    let added = suite.normal(draws, &[if residual { rows * c } else { UNUSED }]);
    let running = statistics(suite, draws, c, at);
    let (stats, y) = (suite.normal(draws, &[2, c]), suite.output(&[rows, c]));

    let [x_values, gamma, beta, old] = [x, affine[0], affine[1], running].map(|view| suite.values(view));
    let used = match conv {
        Some(conv) => merged(&suite.values(partial), c, conv, rows),
        None => (0..c).map(|i| [f64::from(old[i]), f64::from(old[c + i]), 0.0, 0.0]).collect(),
    };
    let added_values = suite.values(added);
    let bound = |(at, &x): (usize, &f32)| {
        let [mean, variance, mean_off, variance_off] = used[at % c];
        let (gamma, beta) = (f64::from(gamma[at % c]).abs(), f64::from(beta[at % c]).abs());
        let distance = (f64::from(x) - mean).abs() + EPS * (f64::from(x.abs()) + mean.abs());
        let scaled = distance * gamma * inverse(variance);
        let added = if residual { f64::from(added_values[at].abs()) } else { 0.0 };
        let off = mean_off * gamma * inverse(variance) + scaled * 0.5 * variance_off / (variance + 1e-5);
        (INVERSE + 6.0 * EPS) * (scaled + beta + added)
            + 2.0 * off
            + EPS * gamma * inverse(variance) * (f64::from(x.abs()) + mean.abs())
    };
    let y_bounds = x_values.iter().enumerate().map(bound).collect();
    let (mut stats_bounds, mut running_bounds) = (vec![0.0; 2 * c], vec![0.0; 2 * c]);
    for (i, [mean, variance, mean_off, variance_off]) in used.into_iter().enumerate() {
        stats_bounds[i] = mean_off + EPS * mean.abs();
        stats_bounds[c + i] = variance_off + 4.0 * EPS * variance;
        // Biased or not: the sum is divided by at least half of the rows.
        for (at, size, off) in [(i, mean.abs(), mean_off), (c + i, 2.0 * variance, 2.0 * variance_off)] {
            running_bounds[at] = 0.1 * off + 4.0 * EPS * (f64::from(old[at].abs()) + size);
        }
    }
    let tensors = Tensors { partial, affine, residual: added, running, stats };
    let dispatch = batch_norm::dispatch("", shape, conv, invocations, x, tensors, y);
    let written = if conv.is_some() { [Each(running_bounds), Each(stats_bounds)] } else { [Bits, Bits] };
    let [running, stats] = written;
    suite.case(format!("{name}, relu {relu}"), dispatch, [running, stats, Each(y_bounds)]);
}

fn backward(
    suite: &mut Suite,
    draws: &mut Draws,
    name: &str,
    shape: Shape,
    invocations: usize,
    x: View,
    at: [f32; 2],
) {
    let Shape { rows, channels: c, relu, residual } = shape;
    let stats = statistics(suite, draws, c, at);
    let dy = suite.normal(draws, &[rows, c]);
    let second = residual.then(|| suite.normal(draws, &[rows, c]));
    let unused = suite.normal(draws, &[UNUSED]);
    // A third of y is exactly 0, where the gradient of the ReLU is 0.
    let len = if relu { rows * c } else { UNUSED };
    let y = suite.f32s(&[len], || if draws.below(3) == 0 { 0.0 } else { draws.normal() });

    let [x_values, s, mut gathered, y_values] = [x, stats, dy, y].map(|view| suite.values(view));
    if let Some(second) = second {
        gathered.iter_mut().zip(suite.values(second)).for_each(|(d, other)| *d += other);
    }
    if relu {
        gathered.iter_mut().zip(y_values).for_each(|(d, y)| *d = if y > 0.0 { *d } else { 0.0 });
    }
    // Sums of a chunk's products, the second one scaled by 1 / sqrt(variance + eps).
    let (chunks, chunk) = batch_norm_backward_reduce::chunks(&shape, invocations);
    let mut bounds = Vec::new();
    for (x, d) in x_values.chunks(chunk * c).zip(gathered.chunks(chunk * c)) {
        let mut sums = vec![0.0; 2 * c];
        for (i, (&x, &d)) in x.iter().zip(d).enumerate() {
            sums[i % c] += f64::from(d.abs());
            sums[c + i % c] += f64::from((d * (x - s[i % c])).abs()) * inverse(f64::from(s[c + i % c]));
        }
        bounds.extend(sums.iter().map(|sum| (chunk as f64 * EPS + INVERSE) * sum));
    }
    let partial = suite.output(&[chunks, 2, c]);
    let inputs = [x, stats, y, second.unwrap_or(unused)];
    let reduce = batch_norm_backward_reduce::dispatch("", shape, invocations, inputs, residual, dy, partial);
    suite.case(name, reduce, [Bits, Each(bounds)]);

    for adding in [false, true] {
        apply(suite, draws, name, shape, invocations, [x, stats], adding);
    }
}

/// dgamma and dbeta: sums of `chunks` values. dx: the same sums' roundings, one inverse for xhat, one for the scale and six
/// more roundings.
fn apply(
    suite: &mut Suite,
    draws: &mut Draws,
    name: &str,
    shape: Shape,
    invocations: usize,
    [x, stats]: [View; 2],
    adding: bool,
) {
    let Shape { rows, channels: c, .. } = shape;
    let (chunks, chunk) = batch_norm_backward_reduce::chunks(&shape, invocations);
    let partial = suite.f32s(&[chunks, 2, c], || chunk as f32 * draws.normal());
    let dy = suite.normal(draws, &[rows, c]);
    let gamma = suite.f32s(&[c], || 1.0 + 0.5 * draws.normal());
    let out = [0, 1].map(|_| if adding { suite.normal(draws, &[c]) } else { suite.output(&[c]) });
    let [x_values, s, g, d, p] = [x, stats, gamma, dy, partial].map(|view| suite.values(view));
    let [sums, sizes] = [false, true].map(|absolute| {
        let value = |x: &f32| f64::from(if absolute { x.abs() } else { *x });
        (0..2 * c).map(|i| p.iter().skip(i).step_by(2 * c).map(value).sum()).collect::<Vec<f64>>()
    });
    let old = out.map(|view| if adding { suite.values(view) } else { vec![0.0; c] });
    let affine_bounds = [1, 0].map(|half| {
        let bound =
            |i: usize| (chunks + 1) as f64 * EPS * (sizes[half * c + i] + f64::from(old[1 - half][i].abs()));
        Each((0..c).map(bound).collect())
    });
    let bound = |(at, (&x, &d)): (usize, (&f32, &f32))| {
        let i = at % c;
        let inverse = inverse(f64::from(s[c + i]));
        let xhat = f64::from((x - s[i]).abs()) * inverse;
        let mean = (sums[i].abs() + xhat * sums[c + i].abs()) / rows as f64;
        let off = chunks as f64 * EPS * (sizes[i] + xhat * sizes[c + i]) / rows as f64;
        let scale = f64::from(g[i]).abs() * inverse;
        scale * ((2.0 * INVERSE + 6.0 * EPS) * (f64::from(d.abs()) + mean) + off)
    };
    let bounds = x_values.iter().zip(&d).enumerate().map(bound).collect();
    let dx = suite.output(&[rows, c]);
    let inputs = [x, stats, gamma, partial, dy];
    let dispatch = batch_norm_backward::dispatch("", shape, invocations, inputs, dx, out);
    let dispatch = dispatch.map(|d| if adding { accumulating(&d) } else { d });
    let [dgamma, dbeta] = affine_bounds;
    suite.case(format!("{name}, adding {adding}"), dispatch, [Each(bounds), dgamma, dbeta]);
}

/// As PyTorch's, the ReLU of what is not a number is none, or a broken network would seem whole.
#[test]
fn what_is_not_a_number_is_not_rectified() {
    const BAD: f32 = f32::NAN;
    let mut plan = Plan::default();
    let mut buffer = |name: &str, len: usize| plan.buffer(name, &[len], Elem::F32, Role::State);
    let [x, y, z] = ["x", "y", "z"].map(|name| buffer(name, 64));
    let [gamma, beta, w] = [("gamma", 4), ("beta", 4), ("w", 16)].map(|(name, len)| buffer(name, len));
    let [running, stats, affine] = ["running", "stats", "affine"].map(|name| buffer(name, 8));
    let [partial, residual, nothing] = ["partial", "residual", "nothing"].map(|name| buffer(name, UNUSED));
    let shape = Shape { rows: 16, channels: 4, relu: true, residual: false };
    let tensors = Tensors { partial, affine: [gamma, beta], residual, running, stats };
    let norm = batch_norm::dispatch("norm", shape, None, 64, x, tensors, y).expect("it fits");
    let conv = Conv { relu: 1, chunk: 16, ..Conv::new([1, 4, 4, 4], 4, 1, 1) };
    let tensors = conv2d_folded::Tensors { affine, residual: nothing };
    let folded = conv2d_folded::dispatch("conv", conv, [x, w], tensors, z).expect("it fits");
    plan.push(List::Forward, norm);
    plan.push(List::Forward, folded);
    let plan = Arc::new(plan);
    for target in [crate::gpu(), Target::host(), Target::twins()] {
        let mut engine = target.load(plan.clone()).expect("a small plan");
        let mut write =
            |view, values: &[f32]| engine.write(view, bytemuck::cast_slice(values)).expect("it fits");
        write(x, &[BAD, -1.0, 0.0, 2.0].repeat(16));
        write(gamma, &[1.0; 4]);
        write(running, &[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        write(affine, &[1.0; 8]);
        engine.run(List::Forward).expect("it runs");
        let name = target.info();
        let y = engine.fetch_f32(y).expect("it runs");
        for pixel in y.chunks(4) {
            assert!(pixel[0].is_nan() && pixel[1..3] == [0.0, 0.0] && pixel[3] > 1.9, "{name}: {pixel:?}");
        }
        // Times a weight of 0, too.
        let z = engine.fetch_f32(z).expect("it runs");
        assert!(z.iter().all(|z| z.is_nan()), "{name}: {z:?}");
    }
}
