//! CPU twin of `shaders/softmax_cross_entropy.wgsl`.

use crate::kernels::Step;
use crate::kernels::softmax_cross_entropy::Params;

/// result (N, 4) = loss, top-1, top-5, class; dlogits (N, K) = (softmax - target) * scale; while training, row `step.slot` of
/// history = loss, top-1, top-5, step, and the first of status = the first bad step.
#[allow(clippy::too_many_arguments)]
pub fn softmax_cross_entropy(
    p: &Params,
    step: &[u32],
    logits: &[f32],
    labels: &[u32],
    result: &mut [f32],
    dlogits: &mut [f32],
    history: &mut [f32],
    status: &mut [u32],
) {
    let k_len = p.k as usize;
    let rows = logits.chunks(k_len).zip(dlogits.chunks_mut(k_len));
    for (((logits, dlogits), result), &label) in rows.zip(result.chunks_mut(4)).zip(labels) {
        image(p, logits, label, result, dlogits);
    }
    if p.log == 1 {
        write_log(p, &Step::from_words(step), result, history, status);
    }
}

fn image(p: &Params, logits: &[f32], label: u32, result: &mut [f32], dlogits: &mut [f32]) {
    if label >= p.k {
        result.fill(0.0);
        dlogits.fill(0.0);
        return;
    }
    let smoothing = f64::from(p.smoothing);
    let share = smoothing / f64::from(p.k);
    let label = label as usize;
    let k_len = logits.len();
    let mut class = 0;
    for k in 1..k_len {
        if logits[k] > logits[class] {
            class = k;
        }
    }
    let below = |k: usize| f64::from(logits[k]) - f64::from(logits[class]);
    let exp = |k: usize| below(k).exp();
    let sum: f64 = (0..k_len).map(exp).sum();
    let beats = |k: &usize| {
        let loses = logits[*k] <= logits[label];
        !loses || (logits[*k] == logits[label] && *k < label)
    };
    let rank = (0..k_len).filter(beats).count();
    for (k, d) in dlogits.iter_mut().enumerate() {
        let onehot = if k == label { 1.0 - smoothing } else { 0.0 };
        *d = ((exp(k) / sum - onehot - share) * f64::from(p.scale)) as f32;
    }
    let mut loss = sum.ln() - below(label);
    if smoothing > 0.0 {
        loss += smoothing * below(label) - share * (0..k_len).map(below).sum::<f64>();
    }
    let hit = |within: usize| if rank < within { 1.0 } else { 0.0 };
    result.copy_from_slice(&[loss as f32, hit(1), hit(5), class as f32]);
}

fn write_log(p: &Params, step: &Step, result: &[f32], history: &mut [f32], status: &mut [u32]) {
    let sum = |i: usize| result.iter().skip(i).step_by(4).map(|&x| f64::from(x)).sum::<f64>();
    let row = &mut history[step.slot as usize * 4..][..4];
    let old = |x: f32| if step.micro > 0 { x } else { 0.0 };
    row[0] = (sum(0) * f64::from(p.scale)) as f32 + old(row[0]);
    row[1] = sum(1) as f32 + old(row[1]);
    row[2] = sum(2) as f32 + old(row[2]);
    row[3] = step.step as f32;
    if !row[0].is_finite() && status[0] == 0 {
        status[0] = step.step;
    }
}
