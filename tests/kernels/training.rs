//! Cases of the loss, the log and the updates.

use crate::suite::{
    EPS, Suite, Tolerance::Bits, Tolerance::Each, Tolerance::Exact, Tolerance::NotFinite, draws,
};
use shiftnet::kernels::softmax_cross_entropy::NO_LABEL;
use shiftnet::kernels::*;
use shiftnet::plan::View;
use shiftnet::rng::Draws;

const HYPER: Hyper = Hyper { momentum: 0.9, weight_decay: 0.01, alpha: 0.03 };

pub fn add(suite: &mut Suite) {
    let draws = &mut draws("training");
    for (n, k) in [(1, 3), (3, 10), (100, 10), (5, 1000)] {
        for integers in [false, true] {
            loss(suite, draws, n, k, integers);
        }
    }
    log(suite, draws);
    for len in [4, 300, 1028] {
        for stopped in [false, true] {
            sgd(suite, draws, len, stopped);
        }
    }
    for shifts in [0, 2, 6, 14] {
        for stopped in [false, true] {
            s3(suite, draws, shifts, stopped);
        }
    }
}

/// A status that was set by `step`, or not; its other words must stay as they are.
fn status(suite: &mut Suite, step: u32) -> View {
    suite.u32s(&[step, 7, 8, 9])
}

fn step(suite: &mut Suite, step: Step) -> View {
    suite.u32s(bytemuck::cast_slice(&[step]))
}

/// exp is off by 3 + 2 |x| ULP and log by 3 ULP, or by 2^-21 near 1, as WGSL has it; the sum has k roundings.
/// Of integers many are equal, which the ranks must break in the order of the classes.
fn loss(suite: &mut Suite, draws: &mut Draws, n: usize, k: usize, integers: bool) {
    let batch = 2 * n;
    let value = || if integers { draws.below(4) as f32 } else { 3.0 * draws.normal() };
    let logits = suite.f32s(&[n, k], value);
    let label = |i: usize| if i % 3 == 1 { NO_LABEL } else { draws.below(k as u32) };
    let label_values: Vec<u32> = (0..n).map(label).collect();
    let labels = suite.u32s(&label_values);
    let [result, dlogits] = [4, k].map(|columns| suite.output(&[n, columns]));
    let [mut loss_bounds, mut gradient_bounds] = [Vec::new(), Vec::new()];
    for (row, &label) in suite.values(logits).chunks(k).zip(&label_values) {
        if label == NO_LABEL {
            loss_bounds.extend([0.0; 4]);
            gradient_bounds.extend(vec![0.0; k]);
            continue;
        }
        let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
        let [low, high] = row.iter().fold([f64::MAX, f64::MIN], |[low, high], &x| [low.min(x), high.max(x)]);
        let sum: f64 = row.iter().map(|x| (x - high).exp()).sum();
        let exp = EPS * (3.0 + 2.0 * (high - low));
        let sum_off = exp + k as f64 * EPS;
        let log_off = f64::max(2f64.powi(-21), 3.0 * EPS * sum.ln());
        let sizes = sum.ln() + high.abs() + row[label as usize].abs();
        loss_bounds.extend([sum_off + log_off + 2.0 * EPS * sizes, 0.0, 0.0, 0.0]);
        let bound = |(class, x): (usize, &f64)| {
            let p = (x - high).exp() / sum;
            let onehot = if class == label as usize { 1.0 } else { 0.0 };
            ((exp + sum_off + 3.0 * EPS) * p + 2.0 * EPS * (p + onehot)) / batch as f64
        };
        gradient_bounds.extend(row.iter().enumerate().map(bound));
    }
    let dispatch = softmax_cross_entropy::dispatch("", [n, k], batch, [logits, labels], result, dlogits);
    suite.case(
        format!("{n} x {k}, integers {integers}"),
        dispatch,
        [Each(loss_bounds), Each(gradient_bounds)],
    );
}

fn log(suite: &mut Suite, draws: &mut Draws) {
    let nothing = |_: &mut [f32]| {};
    row(suite, draws, "one image", 1, Step { step: 3, slot: 5, ..Step::default() }, 0, nothing);
    row(suite, draws, "runs of one", 37, Step { step: 4, slot: 0, micro: 0, ..Step::default() }, 0, nothing);
    row(suite, draws, "adds", 3, Step { step: 70, slot: 63, micro: 1, ..Step::default() }, 0, nothing);
    row(suite, draws, "adds runs", 150, Step { step: 70, slot: 6, micro: 2, ..Step::default() }, 0, nothing);
    row(suite, draws, "was stopped", 3, Step { step: 9, slot: 9, ..Step::default() }, 8, nothing);
    for (name, bad) in [("NaN", f32::NAN), ("infinite", f32::INFINITY)] {
        let step = Step { step: 11, slot: 11, ..Step::default() };
        row(suite, draws, name, 3, step, 0, |result| result[4] = bad);
        row(suite, draws, &format!("{name}, was stopped"), 100, step, 5, |result| result[4 * 99] = bad);
    }
}

/// The loss is the only sum that rounds: n terms, the scale and the old value.
fn row(
    suite: &mut Suite,
    draws: &mut Draws,
    name: &str,
    n: usize,
    at: Step,
    stopped: u32,
    change: impl Fn(&mut [f32]),
) {
    let mut values: Vec<f32> = Vec::new();
    for _ in 0..n {
        let hit = draws.below(2) as f32;
        values.extend([draws.range(0.0, 5.0), hit, hit.max(draws.below(2) as f32), draws.below(10) as f32]);
    }
    change(&mut values);
    let finite = values.iter().all(|x| x.is_finite());
    let loss: f64 = values.iter().step_by(4).map(|&x| f64::from(x)).sum();
    let mut values = values.into_iter();
    let result = suite.f32s(&[n, 4], || values.next().expect("four a row"));
    let log = suite.f32s(&[loss_log::ROWS, 4], || draws.below(100) as f32);
    let slot = at.slot as usize * 4;
    let mut bounds = vec![0.0; log.len];
    let batch = 2 * n;
    let size = loss / batch as f64 + f64::from(suite.values(log)[slot]);
    bounds[slot] = (n + 3) as f64 * EPS * size;
    let [step, status] = [step(suite, at), status(suite, stopped)];
    let dispatch = loss_log::dispatch("", n, batch, [step, result], log, status);
    suite.case(name, dispatch, [if finite { Each(bounds) } else { NotFinite(slot) }, Exact]);
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

/// Latents of 320 weights in three layers. Many are 0 or -0 before the step; some of those have neither
/// gradient nor momentum, so that they are 0 or -0 after it too.
fn s3(suite: &mut Suite, draws: &mut Draws, shifts: usize, stopped: bool) {
    let (len, planes, lr) = (320, 2 + shifts, 0.5);
    let step = step(suite, Step { step: 2, lr, ..Step::default() });
    let status = status(suite, stopped.into());
    let layers = suite.u32s(&[0, 0, 1, 2, 2]);
    let flips = suite.u32s(&[5, u32::MAX, 0]);
    let still = |weight: usize| weight.is_multiple_of(5);
    let moving = |draws: &mut Draws, i: usize| if still(i % len) { 0.0 } else { draws.normal() };
    let latent = |draws: &mut Draws, i: usize| match (draws.below(5), i / len) {
        (0, _) => 0.0,
        (1, _) => -0.0,
        (_, 0 | 1) => draws.normal(),
        // Open more often than not, so that all shifts occur.
        _ => draws.normal() + 0.5 * (shifts as f32).sqrt(),
    };
    let mut fill = |shape: &[usize], value: &dyn Fn(&mut Draws, usize) -> f32| {
        let mut i = 0..;
        suite.f32s(shape, || value(draws, i.next().expect("endless")))
    };
    let dw = fill(&[len], &moving);
    let momenta = fill(&[planes, len], &moving);
    let latents = fill(&[planes, len], &latent);
    let w = suite.normal(draws, &[len]);

    let [dw_values, v_values, values] = [dw, momenta, latents].map(|view| suite.values(view));
    let mut bounds = [0, 1].map(|_| vec![0.0; planes * len]);
    for (i, &dw) in dw_values.iter().enumerate() {
        let of_weight: Vec<f32> = values.iter().skip(i).step_by(len).copied().collect();
        let mut gradients = vec![0.0; planes];
        shiftnet::reference::s3_update::latent_gradients(&of_weight, dw, &mut gradients);
        if of_weight[1] < 0.0 {
            gradients[1] -= HYPER.alpha;
        }
        for (plane, &gradient) in gradients.iter().enumerate() {
            let at = plane * len + i;
            // Two more roundings of the gradient itself: ln 2, and S + 1 or alpha.
            let (new, [v, p]) = descend(values[at], v_values[at], gradient, lr);
            let size = f64::from(gradient.abs() + if plane == 1 { HYPER.alpha } else { 0.0 });
            let own = if gradient == 0.0 { 0.0 } else { 2.0 * EPS * size };
            bounds[0][at] = v + own;
            bounds[1][at] = p + f64::from(lr) * own;
            // A latent this near to 0 could fall on either side; then its weight could not be compared.
            let clear = bounds[1][at] == 0.0 || new.abs() > bounds[1][at];
            assert!(clear, "{shifts} shifts, latent {at}: choose another seed");
        }
    }
    let tensors = s3_update::Tensors { layers, dw, momenta, latents, w, flips };
    let dispatch = s3_update::dispatch("", shifts, HYPER, [step, status], tensors);
    let [v, p] = bounds;
    let tolerances = if stopped { [Bits, Bits, Bits, Exact] } else { [Each(v), Each(p), Bits, Exact] };
    suite.case(format!("{shifts} shifts, stopped {stopped}"), dispatch, tolerances);
}
