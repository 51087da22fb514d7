//! Cases of the updates: SGD, and each weight family at each of its bits.

use crate::suite::{EPS, Suite, Tolerance, Tolerance::Bits, Tolerance::Each, Tolerance::Exact, draws};
use crate::training::{status, step};
use shiftnet::kernels::*;
use shiftnet::method::{Family, Method, MethodName};
use shiftnet::rng::Draws;

const HYPER: Hyper = Hyper { momentum: 0.9, weight_decay: 0.01, alpha: 0.03 };

pub fn add(suite: &mut Suite) {
    let draws = &mut draws("training");
    for len in [4, 300, 1028] {
        for stopped in [false, true] {
            sgd(suite, draws, len, stopped);
        }
    }
    for method in Method::all() {
        for stopped in [false, true] {
            family(suite, draws, method, stopped);
        }
    }
    by_layer(suite, draws);
}

/// An SGD step in f32 and its bounds: 4 roundings of momentum, decay and gradient, which lr scales,
/// and 2 of the step.
fn descend(p: f32, v: f32, g: f32, lr: f32) -> (f64, [f64; 2]) {
    let [p, v, g, lr] = [p, v, g, lr].map(f64::from);
    let [momentum, decay] = [HYPER.momentum, HYPER.weight_decay].map(f64::from);
    let size = momentum * v.abs() + g.abs() + decay * p.abs();
    let new = p - lr * (momentum * v + g + decay * p);
    (new, [4.0 * EPS * size, 4.0 * EPS * lr * size + 2.0 * EPS * (p.abs() + lr * size)])
}

fn sgd(suite: &mut Suite, draws: &mut Draws, len: usize, stopped: bool) {
    let lr = 0.3;
    let step = step(suite, Step { step: 2, lr, ..Step::default() });
    let status = status(suite, stopped.into());
    let [g, v, p] = [0, 1, 2].map(|_| suite.normal(draws, &[len]));
    let [g_values, v_values, p_values] = [g, v, p].map(|view| suite.values(view));
    let bounds = (0..len).map(|i| descend(p_values[i], v_values[i], g_values[i], lr).1);
    let (v_bounds, p_bounds) = bounds.map(|[v, p]| (v, p)).unzip();
    let tolerances = if stopped { [Bits, Bits] } else { [Each(v_bounds), Each(p_bounds)] };
    let dispatch = sgd::dispatch("", HYPER, [step, status], g, v, p);
    suite.case(format!("{len}, stopped {stopped}"), dispatch, tolerances);
}

/// Gradients of a family are off by this many roundings: a product or two, ln 2, S + 1, alpha; a root and a quotient, as WGSL
/// has them, for DenseShift.
fn roundings(method: Method) -> f64 {
    if method.name() == MethodName::DenseShift { 12.0 } else { 2.0 }
}

/// A latent that decides in every way: 0, -0, and values around all borders.
fn latent(draws: &mut Draws, method: Method, plane: usize) -> f32 {
    let any = match (method.name(), plane) {
        (MethodName::Inq, 1) => return draws.below(2) as f32,
        (MethodName::DeepShiftQ, _) => draws.normal() * (-5.0 * draws.normal().abs()).exp2(),
        (MethodName::DeepShiftPs, 1) => -3.0 * draws.normal().abs(),
        // Gates open more often than not, so that all shifts occur.
        (MethodName::S3 | MethodName::DenseShift, 2..) => {
            draws.normal() + 0.25 * f32::from(method.bits() as u8)
        }
        _ => draws.normal(),
    };
    match draws.below(5) {
        0 => 0.0,
        1 => -0.0,
        _ => any,
    }
}

/// Whether neither the sign nor the weight depends on the roundings of one latent.
fn is_clear(family: &dyn Family, latents: &[f32], plane: usize, bound: f64) -> bool {
    let outcome = |off: f64| {
        let mut moved = latents.to_vec();
        moved[plane] = (f64::from(moved[plane]) + off) as f32;
        family.confine(&mut moved);
        (moved[0] >= 0.0, family.weight(&moved, 1.0))
    };
    let (positive, weight) = outcome(-bound);
    let (still, other) = outcome(bound);
    positive == still
        && (weight == other || family.alphabet().is_none_or(|alphabet| alphabet.lowest.is_none()))
}

/// Every fifth weight does not move at all, so that its latents stay at 0; of the others, a latent this near to a border could
/// fall on either side; then its weight could not be compared.
fn family(suite: &mut Suite, draws: &mut Draws, method: Method, stopped: bool) {
    let family = method.family();
    let (len, planes, lr) = (320, family.latents().len(), 0.5);
    let still = |weight: usize| weight.is_multiple_of(5);
    let step = step(suite, Step { step: 77, lr, ..Step::default() });
    let status = status(suite, stopped.into());
    let layers = suite.u32s(&[0, 0, 1, 2, 2]);
    let changes = suite.u32s(&[5, u32::MAX, 0, 7, 1, u32::MAX, 0, 0, 9]);
    let mut fill = |shape: &[usize], value: &mut dyn FnMut(usize) -> f32| {
        let mut i = 0..;
        suite.f32s(shape, || value(i.next().expect("endless")))
    };
    let dw = fill(&[len], &mut |i| if still(i) { 0.0 } else { draws.normal() });
    let momenta = fill(&[planes + 1, len], &mut |i| match (i / len == planes, still(i % len)) {
        (true, _) => draws.below(70) as f32,
        (false, true) => 0.0,
        (false, false) => draws.normal(),
    });
    let latents = fill(&[planes, len], &mut |i| latent(draws, method, i / len));
    let w = fill(&[len], &mut |_| [-4.0, -1.0, 0.0, 1.0, 2.0][draws.below(5) as usize]);

    let [dw_values, v_values, values] = [dw, momenta, latents].map(|view| suite.values(view));
    // The last plane, of steps, is exact.
    let mut bounds = [(planes + 1) * len, planes * len].map(|len| vec![0.0; len]);
    for (i, &dw) in dw_values.iter().enumerate() {
        let of_weight: Vec<f32> = values.iter().skip(i).step_by(len).copied().collect();
        let mut gradients = vec![0.0; planes];
        family.gradients(&of_weight, dw, HYPER.alpha, &mut gradients);
        let moving = (0..planes).filter(|&plane| !family.is_still(&of_weight, plane));
        let mut moved = of_weight.clone();
        for plane in moving.clone() {
            let (at, gradient) = (plane * len + i, gradients[plane]);
            let (new, [v, p]) = descend(values[at], v_values[at], gradient, lr);
            let own = if gradient == 0.0 { 0.0 } else { f64::from(gradient.abs() + HYPER.alpha) };
            let own = roundings(method) * EPS * own;
            bounds[0][at] = v + own;
            bounds[1][at] = p + f64::from(lr) * own;
            moved[plane] = new as f32;
        }
        for plane in moving {
            let bound = bounds[1][plane * len + i];
            let clear = bound == 0.0 || is_clear(family.as_ref(), &moved, plane, bound);
            assert!(clear, "{method}, latent {plane} of {i}: choose another seed");
        }
    }
    let tensors = latent_update::Tensors { layers, dw, momenta, latents, w, changes };
    let dispatch = latent_update::dispatch("", family.as_ref(), HYPER, [step, status], tensors);
    let [v, p] = bounds;
    let real = matches!(method.name(), MethodName::Fp32 | MethodName::Inq);
    let w = if real { Each(p[..len].to_vec()) } else { Bits };
    let tolerances = if stopped { [Bits, Bits, Bits, Exact] } else { [Each(v), Each(p), w, Exact] };
    suite.case(format!("{method}, stopped {stopped}"), dispatch, tolerances);
}

/// The three stages of weights that depend on their layer's mean magnitude; layers of 1, 70 and 200 blocks.
fn by_layer(suite: &mut Suite, draws: &mut Draws) {
    let blocks = [1, 70, 200];
    let all: usize = blocks.iter().sum();
    let v = suite.normal(draws, &[all * BLOCK]);
    let sums = suite.output(&[all]);
    // 63 additions of a sum of magnitudes.
    let dispatch = magnitudes::dispatch("", v, sums);
    suite.case(format!("{all} blocks"), dispatch, [Tolerance::Terms(BLOCK)]);

    // Sums of blocks, with a gap before the last layer; the last has fewer weights than its blocks could hold.
    let sums = suite.normal(draws, &[all + 57]);
    let table = suite.u32s(&[0, 1, 64, 1, 70, 70 * BLOCK as u32, 71 + 57, 200, 200 * BLOCK as u32 - 32]);
    let means = suite.output(&[blocks.len()]);
    suite.case("three layers", layer_means::dispatch("", table, sums, means), [Tolerance::Terms(400)]);

    let layers = [0, 2, 2, 1, 1];
    let means = suite.f32s(&[3], || 0.5 + draws.normal().abs());
    let borders: Vec<f32> = suite.values(means).iter().map(|mean| 0.7 * mean).collect();
    let len = BLOCK * layers.len();
    let mut i = 0..len;
    let v = suite.f32s(&[len], || {
        let border = borders[layers[i.next().expect("as many as values") / BLOCK] as usize];
        match draws.below(6) {
            0 => border,
            1 => -border,
            2 => border.next_up(),
            3 => -border.next_up(),
            _ => draws.normal(),
        }
    });
    let w = suite.f32s(&[len], || draws.below(3) as f32 - 1.0);
    let layers = suite.u32s(&layers);
    let changes = suite.u32s(&[5, u32::MAX, 0, 7, 1, 2, 0, 0, 9]);
    let tensors = ternarize::Tensors { layers, means, v, w, changes };
    suite.case("at the border", ternarize::dispatch("", 0.7, tensors), [Bits, Exact]);
}
