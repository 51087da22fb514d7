//! CPU twin of `shaders/sgd.wgsl`.

use crate::kernels::Step;
use crate::kernels::sgd::Params;

/// One step of SGD on every parameter.
pub fn sgd(params: &Params, step: &[u32], status: &[u32], g: &[f32], v: &mut [f32], p: &mut [f32]) {
    if status[0] != 0 {
        return;
    }
    let lr = Step::from_words(step).lr;
    for ((p, v), &g) in p.iter_mut().zip(v).zip(g) {
        *v = params.momentum * *v + (g + params.weight_decay * *p);
        *p -= lr * *v;
    }
}
