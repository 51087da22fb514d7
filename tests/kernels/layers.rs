//! Cases of the layers without statistics or big sums: element by element, pools, shortcut A, linear.

use crate::suite::{EPS, Suite, Tolerance::Each, Tolerance::Exact, Tolerance::Terms, draws};
use shiftnet::kernels::*;
use shiftnet::rng::Draws;

/// (n, h, w, c): H and W apart, odd and even, two pixels, one image and several, and more
/// channels than a workgroup has invocations for.
const SHAPES: [[usize; 4]; 6] =
    [[1, 5, 7, 4], [3, 6, 9, 8], [3, 9, 4, 12], [1, 1, 2, 8], [3, 13, 11, 20], [2, 2, 3, 136]];

pub fn add(suite: &mut Suite) {
    let draws = &mut draws("layers");
    for shape in SHAPES {
        layers(suite, draws, shape);
    }
    for (n, c, k) in [(1, 8, 3), (7, 64, 10), (5, 20, 37), (3, 4, 1000)] {
        linear(suite, draws, n, c, k);
    }
    augmentation(suite, draws);
}

/// Other shapes.
pub fn add_random(suite: &mut Suite, draws: &mut Draws) {
    for _ in 0..8 {
        let [n, h, w, quads, classes] = [5, 20, 20, 50, 1000].map(|most| 1 + draws.below(most) as usize);
        layers(suite, draws, [n, h, w, 4 * quads]);
        linear(suite, draws, n * h, 4 * quads, classes);
    }
}

fn layers(suite: &mut Suite, draws: &mut Draws, shape: [usize; 4]) {
    let name = format!("{shape:?}");
    elementwise(suite, draws, &name, &shape);
    pools(suite, draws, &name, shape);
    shortcut(suite, draws, &name, shape);
}

fn elementwise(suite: &mut Suite, draws: &mut Draws, name: &str, shape: &[usize]) {
    let [a, b, sum] = [suite.normal(draws, shape), suite.normal(draws, shape), suite.output(shape)];
    suite.case(name, add::dispatch("", a, b, sum), [Exact]);
}

fn pools(suite: &mut Suite, draws: &mut Draws, name: &str, shape: [usize; 4]) {
    let [n, h, w, c] = shape;
    let area = h * w;
    let average = global_avg_pool::Params::new(shape);
    let [x, y] = [suite.normal(draws, &shape), suite.output(&[n, c])];
    suite.case(name, global_avg_pool::dispatch("", average, x, y), [Terms(area + 3)]);
    // One division, 2.5 ULP in WGSL.
    let [dy, dx] = [suite.normal(draws, &[n, c]), suite.output(&shape)];
    suite.case(name, global_avg_pool_backward::dispatch("", average, dy, dx), [Terms(3)]);

    // All different, and with many ties, all of them negative: the padding must not win.
    let max = max_pool::Params::new(shape);
    let out = [n, h.div_ceil(2), w.div_ceil(2), c];
    let len = out.iter().product();
    for ties in [false, true] {
        let value = || if ties { -1.0 - draws.below(3) as f32 } else { draws.normal() };
        let x = suite.f32s(&shape, value);
        let [y, winner] = [suite.output(&out), suite.u32s(&vec![u32::MAX; len])];
        suite.case(format!("{name}, ties {ties}"), max_pool::dispatch("", max, x, y, winner), [Exact, Exact]);

        // Winners as the twin finds them: places inside of the image only. At most 4 windows meet.
        let mut winners = vec![0u32; len];
        let [mut x, mut y]: [Vec<u32>; 2] = [bits(&suite.values(x)), vec![0; len]];
        let forward =
            max_pool::dispatch("", max, dummy(x.len()), dummy(len), dummy(len)).expect("shapes fit");
        (max_pool::KERNEL.twin)(&forward.params, vec![&mut x, &mut y, &mut winners]);
        let [winner, dy, dx] = [suite.u32s(&winners), suite.normal(draws, &out), suite.output(&shape)];
        let backward = max_pool_backward::dispatch("", max, winner, dy, dx);
        suite.case(format!("{name}, ties {ties}"), backward, [Terms(4)]);
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// A view of a buffer that nobody allocates: for dispatches that only give their parameters.
fn dummy(len: usize) -> shiftnet::plan::View {
    shiftnet::plan::View { buffer: shiftnet::plan::BufferId(0), offset: 0, len }
}

fn shortcut(suite: &mut Suite, draws: &mut Draws, name: &str, shape: [usize; 4]) {
    let [n, h, w, c] = shape;
    for k in [c + 8, 3 * c] {
        let params = shortcut_a::Params::new(shape, k);
        let out = [n, h.div_ceil(2), w.div_ceil(2), k];
        let [x, y] = [suite.normal(draws, &shape), suite.output(&out)];
        suite.case(format!("{name} to {k}"), shortcut_a::dispatch("", params, x, y), [Exact]);
        let [dy, dx] = [suite.normal(draws, &out), suite.output(&shape)];
        suite.case(format!("{name} to {k}"), shortcut_a_backward::dispatch("", params, dy, dx), [Exact]);
    }
}

fn linear(suite: &mut Suite, draws: &mut Draws, n: usize, c: usize, k: usize) {
    let name = format!("{n} x {c} to {k}");
    let params = linear::Params::new(n, c, k);
    let [x, w, b, dy] = [&[n, c][..], &[k, c], &[k], &[n, k]].map(|shape| suite.normal(draws, shape));
    let [y, dx, dw, db] = [&[n, k][..], &[n, c], &[k, c], &[k]].map(|shape| suite.output(shape));
    suite.case(&name, linear::dispatch("", params, x, [w, b], y), [Terms(c + 1)]);
    suite.case(&name, linear_input_grad::dispatch("", params, dy, w, dx), [Terms(k)]);
    let weight_grad = linear_weight_grad::dispatch("", params, x, dy, [dw, db]);
    suite.case(&name, weight_grad, [Terms(n), Terms(n)]);
    let old = [&[k, c][..], &[k]].map(|shape| suite.normal(draws, shape));
    let adding = linear_weight_grad::dispatch("", params, x, dy, old).map(|d| accumulating(&d));
    suite.case(format!("{name}, adding"), adding, [Terms(n + 1), Terms(n + 1)]);
}

/// A product and a sum, perhaps fused. The steps between bytes are 4 orders of magnitude above the bound,
/// so that a pixel from anywhere else does not pass.
fn augmentation(suite: &mut Suite, draws: &mut Draws) {
    let [mean, std] = [[0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]];
    let largest = 255.0 / (255.0 * 0.2435) + 0.5 / 0.2435;
    for (n, h, w) in [(1, 5, 7), (3, 9, 6), (7, 12, 11)] {
        for augment in [0, 1] {
            let step = Step { step: 17, first: 40, seed: [9, 1 << 20], augment, ..Step::default() };
            let step = suite.u32s(bytemuck::cast_slice(&[step]));
            let words: Vec<u32> = (0..augment::image_words(n, h, w)).map(|_| draws.bits()).collect();
            let [images, y] = [suite.u32s(&words), suite.output(&[n, h, w, 4])];
            let dispatch = augment::dispatch("", [n, h, w], mean, std, step, images, y);
            let bounds = vec![2.0 * EPS * largest; y.len];
            suite.case(format!("{n} of {h} x {w}, augment {augment}"), dispatch, [Each(bounds)]);
        }
    }
}
