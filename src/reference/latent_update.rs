//! CPU twin of `shaders/update/*.wgsl`: what a family's file in `method` says of one weight, done to all.

use crate::kernels::latent_update::{COUNTERS, Params};
use crate::kernels::{BLOCK, Step};
use crate::method::Family;

/// Moves one weight's latents and momenta (and leaves their gradients) along g = dL/dw; `w` becomes the new weight. Returns
/// whether its sign flipped, it went to or from 0, and its magnitude changed.
pub fn move_one<F: Family>(
    family: &F,
    p: &Params,
    lr: f32,
    g: f32,
    (latents, momenta, gradients): (&mut [f32], &mut [f32], &mut [f32]),
    w: &mut f32,
) -> [bool; COUNTERS] {
    let was_positive = latents[0] >= 0.0;
    family.gradients(latents, g, p.alpha, gradients);
    let held = (0..latents.len()).fold(0u32, |held, i| held | u32::from(family.is_still(latents, i)) << i);
    for (i, ((latent, v), &gradient)) in latents.iter_mut().zip(momenta).zip(&*gradients).enumerate() {
        if held >> i & 1 == 0 {
            *v = p.momentum * *v + (gradient + p.weight_decay * *latent);
            *latent -= lr * *v;
        }
    }
    family.confine(latents);
    let flipped = was_positive != (latents[0] >= 0.0);
    // Where the weight depends on its layer, another kernel makes it.
    if family.threshold().is_some() {
        return [flipped, false, false];
    }
    let (old, new) = (*w, family.weight(latents, 1.0));
    *w = new;
    let counted = p.counted == 1;
    let resized = old != 0.0 && new != 0.0 && old.abs() != new.abs();
    [flipped, counted && (old == 0.0) != (new == 0.0), counted && resized]
}

/// One step of every latent, the new weights, and what changed in each layer.
#[allow(clippy::too_many_arguments)]
pub fn update<F: Family>(
    p: &Params,
    step: &[u32],
    status: &[u32],
    layers: &[u32],
    dw: &[f32],
    momenta: &mut [f32],
    latents: &mut [f32],
    w: &mut [f32],
    changes: &mut [u32],
) {
    if status[0] != 0 {
        return;
    }
    let family = F::of_form(p.form);
    let Step { step, lr, .. } = Step::from_words(step);
    let (len, planes) = (w.len(), p.planes as usize);
    let [mut values, mut velocities, mut gradients] = [0; 3].map(|_| vec![0.0; planes]);
    for i in 0..len {
        for plane in 0..planes {
            (values[plane], velocities[plane]) = (latents[plane * len + i], momenta[plane * len + i]);
        }
        let changed =
            move_one(&family, p, lr, dw[i], (&mut values, &mut velocities, &mut gradients), &mut w[i]);
        for plane in 0..planes {
            (latents[plane * len + i], momenta[plane * len + i]) = (values[plane], velocities[plane]);
        }
        if changed[0] {
            momenta[planes * len + i] = step as f32;
        }
        let counters = &mut changes[layers[i / BLOCK] as usize * COUNTERS..][..COUNTERS];
        for (counter, changed) in counters.iter_mut().zip(changed) {
            *counter = counter.wrapping_add(changed.into());
        }
    }
}
