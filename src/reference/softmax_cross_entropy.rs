//! CPU twin of `shaders/softmax_cross_entropy.wgsl`.

use crate::kernels::softmax_cross_entropy::Params;

/// result (N, 4) = loss, top-1, top-5, class; dlogits (N, K) = (softmax - onehot) * scale.
pub fn softmax_cross_entropy(
    p: &Params,
    logits: &[f32],
    labels: &[u32],
    result: &mut [f32],
    dlogits: &mut [f32],
) {
    let k_len = p.k as usize;
    let rows = logits.chunks(k_len).zip(dlogits.chunks_mut(k_len));
    for (((logits, dlogits), result), &label) in rows.zip(result.chunks_mut(4)).zip(labels) {
        if label >= p.k {
            result.fill(0.0);
            dlogits.fill(0.0);
            continue;
        }
        let label = label as usize;
        let mut class = 0;
        for k in 1..k_len {
            if logits[k] > logits[class] {
                class = k;
            }
        }
        let exp = |k: usize| (f64::from(logits[k]) - f64::from(logits[class])).exp();
        let sum: f64 = (0..k_len).map(exp).sum();
        let beats = |k: &usize| {
            let loses = logits[*k] <= logits[label];
            !loses || (logits[*k] == logits[label] && *k < label)
        };
        let rank = (0..k_len).filter(beats).count();
        for (k, d) in dlogits.iter_mut().enumerate() {
            let onehot = if k == label { 1.0 } else { 0.0 };
            *d = ((exp(k) / sum - onehot) * f64::from(p.scale)) as f32;
        }
        let loss = sum.ln() + f64::from(logits[class]) - f64::from(logits[label]);
        let hit = |within: usize| if rank < within { 1.0 } else { 0.0 };
        result.copy_from_slice(&[loss as f32, hit(1), hit(5), class as f32]);
    }
}
