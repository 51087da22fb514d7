//! Cases of the loss and the log.

use crate::suite::{
    EPS, Suite, Tolerance::Bits, Tolerance::Each, Tolerance::Exact, Tolerance::NotFinite, draws,
};
use shiftnet::kernels::softmax_cross_entropy::NO_LABEL;
use shiftnet::kernels::*;
use shiftnet::plan::View;
use shiftnet::rng::Draws;

pub fn add(suite: &mut Suite) {
    let draws = &mut draws("training");
    for (n, k) in [(1, 3), (3, 10), (100, 10), (5, 1000)] {
        for logits in ["small", "integers", "large"] {
            // Of integers many are equal, which the ranks must break in the order of the classes; large ones differ by little
            // of their size.
            let mut value = || match logits {
                "integers" => draws.below(4) as f32,
                "large" => 1e4 + 3.0 * draws.normal(),
                _ => 3.0 * draws.normal(),
            };
            let values = (0..n * k).map(|_| value()).collect();
            let labels = (0..n).map(|i| if i % 3 == 1 { NO_LABEL } else { draws.below(k as u32) }).collect();
            loss(suite, draws, &format!("{n} x {k}, {logits}"), [n, k], values, labels, Mode::Evaluate);
        }
    }
    logs(suite, draws);
}

/// A status that was set by `step`, or not; its other words must stay as they are.
pub fn status(suite: &mut Suite, step: u32) -> View {
    suite.u32s(&[step, 7, 8, 9])
}

pub fn step(suite: &mut Suite, step: Step) -> View {
    suite.u32s(bytemuck::cast_slice(&[step]))
}

/// The log: one image and runs of several, the first and a later micro-batch, after a stop, and losses whose sum is not
/// finite, because one is NaN or infinite.
fn logs(suite: &mut Suite, draws: &mut Draws) {
    let at = |step: u32, slot: u32, micro: u32| Step { step, slot, micro, ..Step::default() };
    let cases = [
        ("one image", 1, at(3, 5, 0), 0),
        ("runs of one", 37, at(4, 0, 0), 0),
        ("adds", 3, at(70, 63, 1), 0),
        ("adds runs", 150, at(70, 6, 2), 0),
        ("was stopped", 3, at(9, 9, 0), 8),
        ("NaN", 3, at(11, 11, 0), 0),
        ("NaN, was stopped", 100, at(11, 11, 0), 5),
        ("infinite", 66, at(12, 12, 0), 0),
    ];
    let k = 10;
    let cases = cases.iter().flat_map(|case| [(case, 0.0), (case, 0.1), (case, 0.75)]);
    for (&(name, n, at, stopped), smoothing) in cases {
        let mut logits: Vec<f32> = (0..n * k).map(|_| draws.normal()).collect();
        let mut labels: Vec<u32> = (0..n).map(|_| draws.below(k as u32)).collect();
        if name.starts_with("NaN") {
            logits[(n - 1) * k..].fill(f32::NAN);
        }
        if name == "infinite" {
            logits[(n - 1) * k..][..2].copy_from_slice(&[3e38, -3e38]);
            labels[n - 1] = 1;
        }
        let mode = Mode::Train(at, stopped, smoothing);
        loss(suite, draws, &format!("{name}, smoothing {smoothing}"), [n, k], logits, labels, mode);
    }
}

/// What a case of the loss is of.
#[derive(Clone, Copy)]
enum Mode {
    Evaluate,
    /// A step, where another one stopped training, and how much labels are smoothed.
    Train(Step, u32, f32),
}

/// How far a loss in f32 may be off, and each of its gradients before the scale: exp is off by 3 + 2 |x| ULP and log by 3
/// ULP, or by 2^-21 near 1, as WGSL has it; the sum has k roundings.
fn loss_bounds(row: &[f32], label: usize, smoothing: f32) -> (f64, Vec<f64>) {
    let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
    let [low, high] = row.iter().fold([f64::MAX, f64::MIN], |[low, high], &x| [low.min(x), high.max(x)]);
    let sum: f64 = row.iter().map(|x| (x - high).exp()).sum();
    let exp = EPS * (3.0 + 2.0 * (high - low).min(100.0));
    let sum_off = exp + row.len() as f64 * EPS;
    let log_off = f64::max(2f64.powi(-21), 3.0 * EPS * sum.ln());
    let sizes = sum.ln() + high - row[label];
    let smoothing = f64::from(smoothing);
    let share = smoothing / row.len() as f64;
    let below: f64 = row.iter().map(|x| high - x).sum();
    let smoothing_off = EPS
        * ((row.len() + 4) as f64 * share * below
            + 4.0 * smoothing * (high - row[label])
            + 2.0 * smoothing * sizes);
    let gradient = |(class, x): (usize, &f64)| {
        let p = (x - high).exp() / sum;
        let goal = share + if class == label { 1.0 - smoothing } else { 0.0 };
        (exp + sum_off + 3.0 * EPS) * p + 2.0 * EPS * (p + goal) + EPS * share
    };
    (sum_off + log_off + 2.0 * EPS * sizes + smoothing_off, row.iter().enumerate().map(gradient).collect())
}

/// Losses of `logits`; while training, also the log. The loss is the only
/// sum of the log that rounds: n terms, the scale and the old value.
fn loss(
    suite: &mut Suite,
    draws: &mut Draws,
    name: &str,
    [n, k]: [usize; 2],
    logits: Vec<f32>,
    labels: Vec<u32>,
    mode: Mode,
) {
    let batch = 2 * n;
    let (at, stopped, smoothing) = match mode {
        Mode::Evaluate => (Step::default(), 0, None),
        Mode::Train(at, stopped, smoothing) => (at, stopped, Some(smoothing)),
    };
    let slot = at.slot as usize * 4;
    let [mut result_bounds, mut gradient_bounds] = [Vec::new(), Vec::new()];
    let [mut bad, mut bad_gradients] = [Vec::new(), Vec::new()];
    let (mut loss_off, mut loss_size) = (0.0, 0.0);
    for (i, (row, &label)) in logits.chunks(k).zip(&labels).enumerate() {
        let nan = row.iter().any(|x| x.is_nan());
        if nan {
            bad.push(4 * i);
            bad_gradients.extend(i * k..(i + 1) * k);
        }
        if nan || label == NO_LABEL {
            result_bounds.extend([0.0; 4]);
            gradient_bounds.extend(vec![0.0; k]);
            continue;
        }
        let (off, gradients) = loss_bounds(row, label as usize, smoothing.unwrap_or(0.0));
        let size = 2.0 * row.iter().fold(0.0f64, |size, &x| size.max(f64::from(x.abs())));
        if size > f64::from(f32::MAX) {
            bad.push(4 * i);
        }
        result_bounds.extend([off, 0.0, 0.0, 0.0]);
        gradient_bounds.extend(gradients.into_iter().map(|bound| bound / batch as f64));
        loss_off += off;
        loss_size += size + (k as f64).ln();
    }
    let finite = bad.is_empty();
    let mut values = logits.into_iter();
    let logits = suite.f32s(&[n, k], || values.next().expect("k a row"));
    let labels = suite.u32s(&labels);
    let [result, dlogits] = [4, k].map(|columns| suite.output(&[n, columns]));
    let log = suite.f32s(&[softmax_cross_entropy::ROWS, 4], || draws.below(100) as f32);
    let mut log_bounds = vec![0.0; log.len];
    log_bounds[slot] = (loss_off + (n + 3) as f64 * EPS * loss_size) / batch as f64
        + 2.0 * EPS * f64::from(suite.values(log)[slot]);
    let [step, status] = [step(suite, at), status(suite, stopped)];
    let tensors = softmax_cross_entropy::Tensors { step, labels, result, log, status };
    let dispatch = softmax_cross_entropy::dispatch("", [n, k], batch, smoothing, logits, tensors, dlogits);
    let log = match (mode, finite) {
        (Mode::Evaluate, _) => Bits,
        (Mode::Train(..), true) => Each(log_bounds),
        (Mode::Train(..), false) => NotFinite(vec![slot], log_bounds),
    };
    let [result, dlogits] =
        [(bad, result_bounds), (bad_gradients, gradient_bounds)].map(|(bad, bounds)| NotFinite(bad, bounds));
    suite.case(name, dispatch, [result, dlogits, log, Exact]);
}
