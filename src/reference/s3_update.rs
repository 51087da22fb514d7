//! CPU twin of `shaders/s3_update.wgsl`.

use crate::kernels::Step;
use crate::kernels::s3_update::Params;
use crate::method::s3;

/// One step of every latent, the new weights, and the signs flipped in each layer.
#[allow(clippy::too_many_arguments)]
pub fn s3_update(
    p: &Params,
    step: &[u32],
    status: &[u32],
    layers: &[u32],
    dw: &[f32],
    momenta: &mut [f32],
    latents: &mut [f32],
    w: &mut [f32],
    flips: &mut [u32],
) {
    if status[0] != 0 {
        return;
    }
    let lr = Step::from_words(step).lr;
    let len = w.len();
    let planes = 2 + p.shifts as usize;
    let mut values = vec![0.0; planes];
    let mut gradients = vec![0.0; planes];
    for i in 0..len {
        for (plane, value) in values.iter_mut().enumerate() {
            *value = latents[plane * len + i];
        }
        let was_positive = values[0] >= 0.0;
        s3::latent_gradients(&values, dw[i], &mut gradients);
        if values[1] < 0.0 {
            gradients[1] -= p.alpha;
        }
        for plane in 0..planes {
            let v = &mut momenta[plane * len + i];
            *v = p.momentum * *v + (gradients[plane] + p.weight_decay * values[plane]);
            values[plane] -= lr * *v;
            latents[plane * len + i] = values[plane];
        }
        w[i] = s3::weight(&values);
        if was_positive != (values[0] >= 0.0) {
            let count = &mut flips[layers[i / 64] as usize];
            *count = count.wrapping_add(1);
        }
    }
}
