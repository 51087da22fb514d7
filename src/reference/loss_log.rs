//! CPU twin of `shaders/loss_log.wgsl`.

use crate::kernels::Step;
use crate::kernels::loss_log::Params;

/// Row `step.slot` of log = loss, top-1, top-5, step; the first of status = the first bad step.
pub fn loss_log(p: &Params, step: &[u32], result: &[f32], log: &mut [f32], status: &mut [u32]) {
    let step = Step::from_words(step);
    let sum = |i: usize| result.iter().skip(i).step_by(4).map(|&x| f64::from(x)).sum::<f64>();
    let row = &mut log[step.slot as usize * 4..][..4];
    let old = |x: f32| if step.micro > 0 { x } else { 0.0 };
    row[0] = (sum(0) * f64::from(p.scale)) as f32 + old(row[0]);
    row[1] = sum(1) as f32 + old(row[1]);
    row[2] = sum(2) as f32 + old(row[2]);
    row[3] = step.step as f32;
    if !row[0].is_finite() && status[0] == 0 {
        status[0] = step.step;
    }
}
