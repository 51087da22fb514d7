//! SGD on cores: the twin's loop, shared out.

use crate::kernels::sgd::Params;
use crate::reference;
use rayon::prelude::*;

/// Elements of a task.
const TASK: usize = 1 << 14;

/// One step of SGD on every parameter.
pub fn sgd(params: &Params, step: &[u32], status: &[u32], g: &[f32], v: &mut [f32], p: &mut [f32]) {
    let tasks = p.par_chunks_mut(TASK).zip(v.par_chunks_mut(TASK)).zip(g.par_chunks(TASK));
    tasks.for_each(|((p, v), g)| reference::sgd::sgd(params, step, status, g, v, p));
}
