//! Cases of the batch norm.

use crate::suite::{EPS, Suite, Tolerance, Tolerance::Each, Tolerance::Terms, draws};
use shiftnet::kernels::batch_norm_stats::{self, Params as Rows};
use shiftnet::kernels::*;
use shiftnet::plan::View;
use shiftnet::rng::Draws;

/// (n, h, w, c), mean and standard deviation of x. Chunks of 16 rows and of more, a last chunk that is
/// shorter, more chunks than the 64 invocations that merge them, and a mean so far from 0 that
/// E[x^2] - E[x]^2 would lose all digits in f32.
const SHAPES: [([usize; 4], f32, f32); 6] = [
    ([3, 7, 5, 8], 0.5, 1.5),
    ([1, 3, 2, 12], 0.0, 1.0),
    ([1, 4, 4, 4], -2.0, 0.01),
    ([3, 25, 23, 4], 100.0, 1.0),
    ([3, 47, 61, 8], 0.25, 2.0),
    ([3, 61, 47, 4], 100.0, 1.0),
];

pub fn add(suite: &mut Suite) {
    let draws = &mut draws("norm");
    for (shape, mean, std) in SHAPES {
        let rows: usize = shape[..3].iter().product();
        let cut = Rows::new(rows, shape[3]);
        let name = format!("{shape:?}, mean {mean}, std {std}");
        let x = suite.f32s(&shape, || mean + std * draws.normal());
        stats(suite, &name, cut, x);
        finalize(suite, draws, &name, cut, mean, std);
        let stats = statistics(suite, draws, shape[3], mean, std);
        normalize(suite, draws, &name, rows, x, stats);
        backward(suite, draws, &name, cut, x, stats);
    }
}

/// (2, C): means near `mean` and variances near `std` squared, one of them no larger than eps.
fn statistics(suite: &mut Suite, draws: &mut Draws, c: usize, mean: f32, std: f32) -> View {
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

/// Mean: the sum of `chunk` values, so chunk * EPS of their mean magnitude. M2: the same share of itself,
/// and rows * d^2 for a mean that is off by d.
fn stats(suite: &mut Suite, name: &str, cut: Rows, x: View) {
    let [c, chunk] = [cut.channels(), cut.chunk as usize];
    let mut bounds = Vec::new();
    for rows in suite.values(x).chunks(chunk * c) {
        let count = (rows.len() / c) as f64;
        let column = |i: usize| rows.iter().skip(i).step_by(c).map(|&x| f64::from(x));
        let off = |i: usize| EPS * column(i).map(f64::abs).sum::<f64>();
        bounds.extend((0..c).map(off));
        bounds.extend((0..c).map(|i| {
            let mean = column(i).sum::<f64>() / count;
            let m2: f64 = column(i).map(|x| (x - mean).powi(2)).sum();
            (count + 4.0) * EPS * m2 + count * off(i).powi(2)
        }));
    }
    let partial = suite.f32s(&[cut.chunks as usize, 2, c], || f32::NAN);
    suite.case(name, batch_norm_stats::dispatch("", cut, x, partial), [Each(bounds)]);
}

/// The chunks are merged one after the other: each merge rounds the mean once, so the mean is off by at most
/// d = chunks * EPS * max |mean|. The variance has its own chunks * EPS, and what d does to the squared
/// distances between means that lie up to s apart: 2 s d + d^2. The running statistics get momentum
/// times that, and three roundings of their own.
fn finalize(suite: &mut Suite, draws: &mut Draws, name: &str, cut: Rows, mean: f32, std: f32) {
    let [c, chunks] = [cut.channels(), cut.chunks as usize];
    let mut i = 0;
    let partial = suite.f32s(&[chunks, 2, c], || {
        i += 1;
        let is_mean = (i - 1) % (2 * c) < c;
        if is_mean {
            mean + std * draws.normal()
        } else {
            cut.chunk as f32 * std * std * draws.range(0.5, 2.0)
        }
    });
    let [stats, running] = [suite.output(&[2, c]), suite.f32s(&[2, c], || draws.range(0.5, 2.0))];
    let values = suite.values(partial);
    let column = |i: usize| values.iter().skip(i).step_by(2 * c).map(|&x| f64::from(x));
    let rounded = EPS * (chunks as f64 + 8.0);
    let mut bounds = vec![0.0; 2 * c];
    let mut size = vec![0.0; 2 * c];
    for i in 0..c {
        let [low, high] = column(i).fold([f64::MAX, f64::MIN], |[low, high], x| [low.min(x), high.max(x)]);
        size[i] = low.abs().max(high.abs());
        let off = rounded * size[i];
        let spread = high - low;
        // Biased or not: a single chunk's M2 is divided by at least half of its rows.
        size[c + i] = spread.powi(2) + 2.0 * column(c + i).sum::<f64>() / f64::from(cut.rows);
        bounds[i] = off;
        bounds[c + i] = rounded * size[c + i] + 2.0 * spread * off + off * off;
    }
    let old = suite.values(running);
    let moved = |i: usize| 0.1 * bounds[i] + 3.0 * EPS * (f64::from(old[i].abs()) + size[i]);
    let moved = (0..2 * c).map(moved).collect();
    let dispatch = batch_norm_finalize::dispatch("", cut, partial, stats, running);
    suite.case(name, dispatch, [Each(bounds), Each(moved)]);
}

/// 1 / sqrt(variance + eps) in f32: one rounding of the sum, 3 ULP of WGSL's square root and 2.5 of its division.
const INVERSE: f64 = 8.0 * EPS;

fn inverse(variance: f32) -> f64 {
    1.0 / (f64::from(variance) + 1e-5).sqrt()
}

/// |x - mean| gamma / sqrt(variance + eps) and |beta|, each with INVERSE and the roundings of its sum.
fn normalize(suite: &mut Suite, draws: &mut Draws, name: &str, rows: usize, x: View, stats: View) {
    let c = stats.len / 2;
    let affine = [1.0, 0.0].map(|at| suite.f32s(&[c], || at + 0.5 * draws.normal()));
    let [x_values, s, gamma, beta] = [x, stats, affine[0], affine[1]].map(|view| suite.values(view));
    let bound = |(i, &x): (usize, &f32)| {
        let i = i % c;
        let scaled = f64::from((x - s[i]) * gamma[i]).abs() * inverse(s[c + i]);
        (INVERSE + 4.0 * EPS) * (scaled + f64::from(beta[i].abs()))
    };
    let bounds = x_values.iter().enumerate().map(bound).collect();
    let y = suite.output(&[rows, c]);
    suite.case(name, batch_norm_normalize::dispatch("", rows, x, stats, affine, y), [Each(bounds)]);
}

fn backward(suite: &mut Suite, draws: &mut Draws, name: &str, cut: Rows, x: View, stats: View) {
    let c = stats.len / 2;
    let rows = cut.rows as usize;
    let dy = suite.normal(draws, &[rows, c]);
    let [x_values, d, s] = [x, dy, stats].map(|view| suite.values(view));

    // Sums of a chunk's products, the second one scaled by 1 / sqrt(variance + eps).
    let chunk = cut.chunk as usize;
    let mut bounds = Vec::new();
    for (x, d) in x_values.chunks(chunk * c).zip(d.chunks(chunk * c)) {
        let mut sums = vec![0.0; 2 * c];
        for (i, (&x, &d)) in x.iter().zip(d).enumerate() {
            sums[i % c] += f64::from(d.abs());
            sums[c + i % c] += f64::from((d * (x - s[i % c])).abs()) * inverse(s[c + i % c]);
        }
        bounds.extend(sums.iter().map(|sum| (chunk as f64 * EPS + INVERSE) * sum));
    }
    let partial = suite.output(&[cut.chunks as usize, 2, c]);
    let reduce = batch_norm_backward_reduce::dispatch("", cut, x, stats, dy, partial);
    suite.case(name, reduce, [Each(bounds)]);

    let chunks = cut.chunks as usize;
    let partial = suite.normal(draws, &[chunks, 2, c]);
    for adding in [false, true] {
        let sums = suite.output(&[2, c]);
        let out = [0, 1].map(|_| if adding { suite.normal(draws, &[c]) } else { suite.output(&[c]) });
        let dispatch = batch_norm_backward_finalize::dispatch("", cut, partial, sums, out);
        let dispatch = dispatch.map(|d| if adding { accumulating(&d) } else { d });
        let tolerances: [Tolerance; 3] = [Terms(chunks), Terms(chunks + 1), Terms(chunks + 1)];
        suite.case(format!("{name}, adding {adding}"), dispatch, tolerances);
    }

    // dx: the same sum of magnitudes, with one inverse for xhat, one for the scale and six more roundings.
    let gamma = suite.f32s(&[c], || 1.0 + 0.5 * draws.normal());
    let sums = suite.f32s(&[2, c], || rows as f32 * draws.normal());
    let [g, t] = [gamma, sums].map(|view| suite.values(view));
    let bound = |(i, (&x, &d)): (usize, (&f32, &f32))| {
        let i = i % c;
        let inverse = inverse(s[c + i]);
        let xhat = f64::from((x - s[i]).abs()) * inverse;
        let mean = (f64::from(t[i].abs()) + xhat * f64::from(t[c + i].abs())) / rows as f64;
        (2.0 * INVERSE + 6.0 * EPS) * f64::from(g[i].abs()) * inverse * (f64::from(d.abs()) + mean)
    };
    let bounds = x_values.iter().zip(&d).enumerate().map(bound).collect();
    let dx = suite.output(&[rows, c]);
    let dispatch = batch_norm_backward::dispatch("", rows, [x, stats, gamma, sums], dy, dx);
    suite.case(name, dispatch, [Each(bounds)]);
}
