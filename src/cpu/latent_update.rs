//! The updates of the weight families, cut into tasks, in one pass over latents and momenta.

use crate::kernels::latent_update::{COUNTERS, Params};
use crate::kernels::{BLOCK, Step};
use crate::method::Family;
use crate::reference::latent_update::move_one;
use rayon::prelude::*;

/// Weights of a task, a multiple of [`BLOCK`].
const TASK: usize = 4096;

/// What changed among a block of weights.
pub(super) type Counts = [u32; COUNTERS];

/// Latents of a plane, and their momenta.
pub(super) type Plane<'a> = (&'a mut [f32], &'a mut [f32]);

/// A range of weights: gradients, and of each plane the latents and their momenta.
pub(super) struct Task<'a> {
    pub w: &'a mut [f32],
    pub dw: &'a [f32],
    pub planes: Vec<Plane<'a>>,
    /// The step of each weight's last flip.
    pub flipped_at: &'a mut [f32],
    /// What changed, by blocks.
    pub counts: &'a mut [Counts],
}

/// The buffers of an update.
pub(super) struct Buffers<'a> {
    pub layers: &'a [u32],
    pub dw: &'a [f32],
    pub momenta: &'a mut [f32],
    pub latents: &'a mut [f32],
    pub w: &'a mut [f32],
    pub changes: &'a mut [u32],
}

/// Cuts the buffers into tasks, has `run` do each, and adds what they counted to their layers.
pub(super) fn in_tasks(buffers: Buffers, run: impl Fn(&mut Task) + Send + Sync) {
    let Buffers { layers, dw, momenta, latents, w, changes } = buffers;
    let len = w.len();
    let mut counts = vec![[0; COUNTERS]; layers.len()];
    let (momenta, flipped_at) = momenta.split_at_mut(latents.len());
    let parts = w.chunks_mut(TASK).zip(dw.chunks(TASK)).zip(flipped_at.chunks_mut(TASK));
    let parts = parts.zip(counts.chunks_mut(TASK / BLOCK));
    let mut tasks: Vec<Task> = parts
        .map(|(((w, dw), flipped_at), counts)| Task { w, dw, planes: Vec::new(), flipped_at, counts })
        .collect();
    for (latents, momenta) in latents.chunks_exact_mut(len).zip(momenta.chunks_exact_mut(len)) {
        let chunks = latents.chunks_mut(TASK).zip(momenta.chunks_mut(TASK));
        tasks.iter_mut().zip(chunks).for_each(|(task, plane)| task.planes.push(plane));
    }
    tasks.par_iter_mut().for_each(run);
    drop(tasks);
    for (&layer, counts) in layers.iter().zip(counts) {
        let of_layer = &mut changes[layer as usize * COUNTERS..][..COUNTERS];
        of_layer.iter_mut().zip(counts).for_each(|(all, count)| *all = all.wrapping_add(count));
    }
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
    let (family, step) = (F::of_form(p.form), Step::from_words(step));
    in_tasks(Buffers { layers, dw, momenta, latents, w, changes }, |task| {
        let planes = task.planes.len();
        let [mut values, mut velocities, mut gradients] = [0; 3].map(|_| vec![0.0; planes]);
        for (i, (w, &g)) in task.w.iter_mut().zip(task.dw).enumerate() {
            for (plane, (latents, momenta)) in task.planes.iter().enumerate() {
                (values[plane], velocities[plane]) = (latents[i], momenta[i]);
            }
            let changed = move_one(&family, p, step.lr, g, (&mut values, &mut velocities, &mut gradients), w);
            for (plane, (latents, momenta)) in task.planes.iter_mut().enumerate() {
                (latents[i], momenta[i]) = (values[plane], velocities[plane]);
            }
            if changed[0] {
                task.flipped_at[i] = step.step as f32;
            }
            let counts = &mut task.counts[i / BLOCK];
            counts.iter_mut().zip(changed).for_each(|(count, changed)| *count += u32::from(changed));
        }
    });
}
