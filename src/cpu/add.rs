//! Sum of two tensors: the twin, shared out.

use crate::kernels::add::Params;
use crate::reference;
use rayon::prelude::*;

/// Elements of a task.
const TASK: usize = 1 << 14;

/// y = a + b.
pub fn add(p: &Params, a: &[f32], b: &[f32], y: &mut [f32]) {
    let tasks = y.par_chunks_mut(TASK).zip(a.par_chunks(TASK)).zip(b.par_chunks(TASK));
    tasks.for_each(|((y, a), b)| reference::add::add(p, a, b, y));
}
