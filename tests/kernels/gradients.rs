//! Every smooth gradient against finite differences of the twins, which accumulate in f64.

use crate::assert_close;
use crate::suite::{Suite, draws};
use shiftnet::engine::{Engine, Target};
use shiftnet::kernels::sum_partials::Part;
use shiftnet::kernels::*;
use shiftnet::plan::{Dispatch, List, View};
use shiftnet::rng::Draws;

/// For L = sum of `weight` * y, where the forward list computes y: that the backward list makes `dx` the
/// gradient of L by `x`, for each pair.
///
/// Central differences at steps h and h / 2, extrapolated: (4 D(h / 2) - D(h)) / 3 is off by O(h^4), and
/// rounding y to f32 by about EPS |y| / h. Of linear functions every step is exact but for the rounding.
fn check(suite: &Suite, y: View, weight: &[f32], pairs: &[(View, View)], step: f32, tolerance: f64) {
    let mut engine = suite.load(&Target::twins(), &suite.stems()).expect("the host engine loads any plan");
    engine.run(List::Forward).expect("the twins run");
    engine.run(List::Backward).expect("the twins run");
    for &(x, dx) in pairs {
        let got = engine.fetch_f32(dx).expect("the host engine reads");
        let at = suite.values(x);
        let mut difference = |i: usize, h: f32| {
            let [up, down] = [h, -h].map(|h| loss(engine.as_mut(), x, &at, i, h, y, weight));
            // The step that was taken, which is not h where x + h was rounded.
            (up - down) / (f64::from(at[i] + h) - f64::from(at[i] - h))
        };
        let slope = |i: usize| ((4.0 * difference(i, step / 2.0) - difference(i, step)) / 3.0) as f32;
        let expected: Vec<f32> = (0..x.len).map(slope).collect();
        let size = expected.iter().fold(0f32, |size, d| size.max(d.abs()));
        assert!(size > 0.0, "a gradient that is all zero tests nothing");
        assert_close!(got, expected, tolerance * f64::from(size));
        engine.write(x, bytemuck::cast_slice(&at)).expect("the host engine writes");
    }
}

fn loss(engine: &mut dyn Engine, x: View, at: &[f32], i: usize, h: f32, y: View, weight: &[f32]) -> f64 {
    let mut moved = at.to_vec();
    moved[i] += h;
    engine.write(x, bytemuck::cast_slice(&moved)).expect("the host engine writes");
    engine.run(List::Forward).expect("the twins run");
    let y = engine.fetch_f32(y).expect("the host engine reads");
    y.iter().zip(weight).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
}

/// A suite under construction, with its dispatches.
struct Net {
    suite: Suite,
    draws: Draws,
}

impl Net {
    fn new(name: &str) -> Net {
        Net { suite: Suite::default(), draws: draws(name) }
    }

    fn normal<const N: usize>(&mut self, shapes: [&[usize]; N]) -> [View; N] {
        shapes.map(|shape| self.suite.normal(&mut self.draws, shape))
    }

    fn outputs<const N: usize>(&mut self, shapes: [&[usize]; N]) -> [View; N] {
        shapes.map(|shape| self.suite.output(shape))
    }

    fn push(&mut self, list: List, dispatches: impl IntoIterator<Item = shiftnet::Result<Dispatch>>) {
        for dispatch in dispatches {
            let dispatch = dispatch.expect("shapes fit");
            self.suite.plan.push(list, dispatch);
        }
    }

    /// L = sum of dy * y.
    fn check(&self, y: View, dy: View, pairs: &[(View, View)], step: f32, tolerance: f64) {
        check(&self.suite, y, &self.suite.values(dy), pairs, step, tolerance);
    }
}

#[test]
fn convolution_gradients_are_finite_differences() {
    for (from, k, size, stride) in [([2, 4, 5, 4], 8, 3, 1), ([2, 5, 4, 8], 4, 3, 2), ([1, 8, 7, 4], 8, 7, 2)]
    {
        let mut net = Net::new("conv");
        let mut conv = conv2d_forward::Params::new(from, k, size, stride);
        conv.splits = from[0] as u32;
        let [out, weight] = [[from[0], conv.p as usize, conv.q as usize, k], [size, size, from[3], k]];
        let [x, w, dy] = net.normal([&from, &weight, &out]);
        let part = Part { to: 0, len: conv.w_len(), offset: 0, splits: from[0] };
        let table = net.suite.u32s(&sum_partials::table(part.len, &[part]));
        let [y, dx, dw, partial, stats] =
            net.outputs([&out, &from, &weight, &[from[0] * part.len], &[UNUSED]]);
        net.push(List::Forward, [conv2d_forward::dispatch("", conv, [x, w], y, stats)]);
        let backward = [
            conv2d_input_grad::dispatch("", conv, dy, w, dx),
            conv2d_weight_grad::dispatch("", conv, x, dy, partial),
            sum_partials::dispatch("", table, partial, dw, 1),
        ];
        net.push(List::Backward, backward);
        net.check(y, dy, &[(x, dx), (w, dw)], 0.5, 1e-5);
    }
}

/// A 1 x 1 convolution makes the statistics, so the finite differences go through it. L = sum of dy * y, and the
/// second gradient belongs to the residual as well.
#[test]
fn batch_norm_gradients_are_finite_differences() {
    let from = [2, 3, 5, 4];
    let (rows, c) = (30, 4);
    let shape = batch_norm::Shape { rows, channels: c, relu: false, residual: true };
    let conv = conv2d_forward::Params { chunk: 8, stats: 1, ..conv2d_forward::Params::new(from, c, 1, 1) };
    let mut net = Net::new("batch norm");
    let [x, dy, gamma, beta, residual, running] = net.normal([&from, &from, &[c], &[c], &from, &[2, c]]);
    let mut i = 0;
    let identity = net.suite.f32s(&[c, c], || {
        i += 1;
        if (i - 1) % (c + 1) == 0 { 1.0 } else { 0.0 }
    });
    let [z, y, dx, stats] = net.outputs([&from, &from, &from, &[2, c]]);
    let (chunks, _) = batch_norm_backward_reduce::chunks(&shape, 64);
    let [partial, sums] = net.outputs([&[conv.partial_len()], &[chunks, 2, c]]);
    let [dgamma, dbeta] = net.outputs([&[c]; 2]);
    let [unused, other] = net.normal([&[UNUSED]; 2]);
    let tensors = batch_norm::Tensors { partial, affine: [gamma, beta], residual, running, stats };
    let forward = [
        conv2d_forward::dispatch("", conv, [x, identity], z, partial),
        batch_norm::dispatch("", shape, Some(&conv), 64, z, tensors, y),
    ];
    net.push(List::Forward, forward);
    let inputs = [z, stats, unused, other];
    let backward = [
        batch_norm_backward_reduce::dispatch("", shape, 64, inputs, false, dy, sums),
        batch_norm_backward::dispatch("", shape, 64, [z, stats, gamma, sums, dy], dx, [dgamma, dbeta]),
    ];
    net.push(List::Backward, backward);
    // Without a ReLU the gradient of the residual is dy itself.
    net.check(y, dy, &[(x, dx), (gamma, dgamma), (beta, dbeta), (residual, dy)], 0.125, 1e-4);
}

/// Of max(batch norm, 0) and two gradients that meet: at steps so small that none passes 0.
#[test]
fn rectified_batch_norm_gradients_are_finite_differences() {
    let (rows, c) = (40, 4);
    let shape = batch_norm::Shape { rows, channels: c, relu: true, residual: false };
    let mut net = Net::new("rectified");
    // Running statistics: y = x, so that the gradient is dy where x > 0.
    let mut order = net.draws.permutation((rows * c) as u32).into_iter();
    let x = net.suite.f32s(&[rows, c], || (order.next().expect("one each") as f32 - 79.5) / 4.0);
    let mut ones = |value: f32| net.suite.f32s(&[c], || value);
    let affine = [ones(1.0), ones(0.0)];
    let mut i = 0;
    let running = net.suite.f32s(&[2, c], || {
        i += 1;
        if i <= c { 0.0 } else { 1.0 }
    });
    let [dy, second] = net.normal([&[rows, c]; 2]);
    let [unused, other] = net.normal([&[UNUSED]; 2]);
    let [y, stats, sums] = net.outputs([&[rows, c], &[2, c], &[2, 2, c]]);
    let tensors = batch_norm::Tensors { partial: unused, affine, residual: other, running, stats };
    net.push(List::Forward, [batch_norm::dispatch("", shape, None, 64, x, tensors, y)]);
    let weight: Vec<f32> =
        net.suite.values(dy).iter().zip(net.suite.values(second)).map(|(a, b)| a + b).collect();
    let inputs = [x, running, y, second];
    let reduce = batch_norm_backward_reduce::dispatch("", shape, 64, inputs, true, dy, sums);
    net.push(List::Backward, [reduce]);
    check(&net.suite, y, &weight, &[(x, dy)], 0.0625, 1e-4);
}

#[test]
fn linear_gradients_are_finite_differences() {
    let (n, c, k) = (3, 8, 5);
    let params = linear::Params::new(n, c, k);
    let mut net = Net::new("linear");
    let [x, w, b, dy] = net.normal([&[n, c], &[k, c], &[k], &[n, k]]);
    let [y, dx, dw, db] = net.outputs([&[n, k], &[n, c], &[k, c], &[k]]);
    net.push(List::Forward, [linear::dispatch("", params, x, [w, b], y)]);
    let backward = [
        linear_input_grad::dispatch("", params, dy, w, dx),
        linear_weight_grad::dispatch("", params, x, dy, [dw, db]),
    ];
    net.push(List::Backward, backward);
    net.check(y, dy, &[(x, dx), (w, dw), (b, db)], 0.5, 1e-5);
}

/// The forward pass makes the gradient; L is the mean of the losses over the batch.
#[test]
fn cross_entropy_gradients_are_finite_differences() {
    for smoothing in [None, Some(0.0), Some(0.3)] {
        cross_entropy_of(smoothing);
    }
}

fn cross_entropy_of(smoothing: Option<f32>) {
    let (n, k, batch) = (3, 7, 5);
    let mut net = Net::new("cross-entropy");
    let [logits] = net.normal([&[n, k]]);
    let labels = net.suite.u32s(&[4, softmax_cross_entropy::NO_LABEL, 0]);
    let [result, dlogits] = net.outputs([&[n, 4], &[n, k]]);
    let [step, status] =
        [&[0; Step::LEN][..], &[0; softmax_cross_entropy::STATUS_LEN]].map(|words| net.suite.u32s(words));
    let log = net.suite.output(&[softmax_cross_entropy::ROWS, 4]);
    let tensors = softmax_cross_entropy::Tensors { step, labels, result, log, status };
    let loss = softmax_cross_entropy::dispatch("", [n, k], batch, smoothing, logits, tensors, dlogits);
    net.push(List::Forward, [loss]);
    let weight: Vec<f32> = (0..4 * n).map(|i| if i % 4 == 0 { 1.0 / batch as f32 } else { 0.0 }).collect();
    check(&net.suite, result, &weight, &[(logits, dlogits)], 0.125, 1e-5);
}

#[test]
fn average_pool_and_shortcut_gradients_are_finite_differences() {
    let shape = [2, 3, 5, 4];
    let average = global_avg_pool::Params::new(shape);
    let mut net = Net::new("average pool");
    let [x, dy] = net.normal([&shape, &[2, 4]]);
    let [y, dx] = net.outputs([&[2, 4], &shape]);
    net.push(List::Forward, [global_avg_pool::dispatch("", average, x, y)]);
    net.push(List::Backward, [global_avg_pool_backward::dispatch("", average, dy, dx)]);
    net.check(y, dy, &[(x, dx)], 0.5, 1e-5);

    let shortcut = shortcut_a::Params::new(shape, 12);
    let mut net = Net::new("shortcut");
    let [x, dy] = net.normal([&shape, &[2, 2, 3, 12]]);
    let [y, dx] = net.outputs([&[2, 2, 3, 12], &shape]);
    net.push(List::Forward, [shortcut_a::dispatch("", shortcut, x, y)]);
    net.push(List::Backward, [shortcut_a_backward::dispatch("", shortcut, dy, dx)]);
    net.check(y, dy, &[(x, dx)], 0.5, 1e-5);
}

/// Values a quarter apart, and steps of an eighth: no step changes a winner.
#[test]
fn max_pool_gradients_are_finite_differences() {
    let shape = [2, 5, 4, 4];
    let len: usize = shape.iter().product();
    let mut net = Net::new("max-pool");
    let mut order = net.draws.permutation(len as u32).into_iter();
    let mut apart = || (order.next().expect("one each") as f32 - 80.5) / 4.0;
    let x = net.suite.f32s(&shape, &mut apart);
    let params = max_pool::Params::new(shape);
    let out = [2, 3, 2, 4];
    let [dy] = net.normal([&out]);
    let [y, dx] = net.outputs([&out, &shape]);
    let winner = net.suite.u32s(&[0; 48]);
    net.push(List::Forward, [max_pool::dispatch("", params, x, y, winner)]);
    net.push(List::Backward, [max_pool_backward::dispatch("", params, winner, dy, dx)]);
    net.check(y, dy, &[(x, dx)], 0.0625, 1e-5);
}
