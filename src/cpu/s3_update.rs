//! The S³ update: 16 weights at a time, in one pass over latents and momenta.

use super::lanes::{LANES, Lanes};
use super::latent_update::{Buffers, Counts, Plane, Task, in_tasks};
use crate::kernels::latent_update::Params;
use crate::kernels::{BLOCK, Step};
use std::f32::consts::LN_2;

/// One step of every latent, the new weights, and what changed in each layer.
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
    changes: &mut [u32],
) {
    if status[0] == 0 {
        let step = Step::from_words(step);
        in_tasks(Buffers { layers, dw, momenta, latents, w, changes }, |task| move_latents(p, step, task));
    }
}

vectorized! {
    /// Updates a task.
    fn move_latents(p: &Params, step: Step, task: &mut Task) {
        match task.planes.len() {
            2 => move_planes::<2>(p, step, task),
            4 => move_planes::<4>(p, step, task),
            8 => move_planes::<8>(p, step, task),
            16 => move_planes::<16>(p, step, task),
            planes => unreachable!("S³ has 2 to 5 bits, not {planes} latents"),
        }
    }
}

/// Updates a task whose weights have `N` latents.
#[inline(always)]
fn move_planes<const N: usize>(p: &Params, step: Step, task: &mut Task) {
    let planes: &mut [Plane; N] = task.planes.first_chunk_mut().expect("as many as asked for");
    let (w, _) = task.w.as_chunks_mut::<LANES>();
    let (flipped_at, _) = task.flipped_at.as_chunks_mut::<LANES>();
    let rows = w.iter_mut().zip(task.dw.as_chunks::<LANES>().0).zip(flipped_at);
    for (i, ((w, g), flipped_at)) in rows.enumerate() {
        let (new, flipped) = sixteen(p, step.lr, g, i * LANES, planes);
        count(&mut task.counts[i * LANES / BLOCK], flipped, w, &new);
        if flipped > 0 {
            for l in 0..LANES {
                flipped_at[l] = if flipped >> l & 1 == 1 { step.step as f32 } else { flipped_at[l] };
            }
        }
        *w = new;
    }
}

/// Counts what changed: the bits of `flipped`, and weights that were or are 0, or have another magnitude.
#[inline(always)]
fn count(counts: &mut Counts, flipped: u32, old: &Lanes, new: &Lanes) {
    counts[0] += flipped.count_ones();
    for l in 0..LANES {
        let (was_zero, is_zero) = (old[l] == 0.0, new[l] == 0.0);
        counts[1] += u32::from(was_zero != is_zero);
        counts[2] += u32::from(!was_zero & !is_zero & (old[l].abs() != new[l].abs()));
    }
}

/// H(x) as 1 or 0.
#[inline(always)]
fn open(x: f32) -> f32 {
    if x > 0.0 { 1.0 } else { 0.0 }
}

/// sgn(x), with sgn(0) = 1.
#[inline(always)]
fn sign(x: f32) -> f32 {
    if x >= 0.0 { 1.0 } else { -1.0 }
}

/// 2^x of a whole number 0 <= x <= 30.
#[inline(always)]
fn power(x: f32) -> f32 {
    f32::from_bits((x as i32 as u32 + 127) << 23)
}

/// The new weights of the 16 from `at`, and a bit for each sign that changed. The same operations in the same order as the twin.
#[inline(always)]
fn sixteen<const N: usize>(
    p: &Params,
    lr: f32,
    g: &Lanes,
    at: usize,
    planes: &mut [Plane; N],
) -> (Lanes, u32) {
    let gates = N - 2;
    let read = |plane: &Plane| -> Lanes { *plane.0[at..].first_chunk().expect("whole blocks") };
    // S_0 ... S_T of the old latents, and what is not used.
    let mut shifts = [[0.0; LANES]; N];
    for t in 0..gates {
        let gate = read(&planes[2 + t]);
        for l in 0..LANES {
            shifts[t + 1][l] = open(gate[l]) * (shifts[t][l] + 1.0);
        }
    }
    let [signs, sparse] = [read(&planes[0]), read(&planes[1])];
    let (mut of_sign, mut of_sparse, mut of_shift) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for l in 0..LANES {
        let power = power(shifts[gates][l]);
        of_sign[l] = g[l] * open(sparse[l]) * power;
        of_sparse[l] = g[l] * sign(signs[l]) * power - if sparse[l] < 0.0 { p.alpha } else { 0.0 };
        of_shift[l] = g[l] * sign(signs[l]) * open(sparse[l]) * power * LN_2;
    }
    let new_signs = stepped(p, lr, at, &of_sign, &mut planes[0]);
    let new_sparse = stepped(p, lr, at, &of_sparse, &mut planes[1]);
    for t in (0..gates).rev() {
        let old = read(&planes[2 + t]);
        let mut gradient = [0.0; LANES];
        for l in 0..LANES {
            gradient[l] = of_shift[l] * (shifts[t][l] + 1.0);
            of_shift[l] = if old[l] > 0.0 { of_shift[l] } else { 0.0 };
        }
        stepped(p, lr, at, &gradient, &mut planes[2 + t]);
    }
    let mut shift = [0.0; LANES];
    for plane in &planes[2..] {
        let gate = read(plane);
        for l in 0..LANES {
            shift[l] = open(gate[l]) * (shift[l] + 1.0);
        }
    }
    let mut w = [0.0; LANES];
    let mut flips = 0;
    for l in 0..LANES {
        w[l] = if new_sparse[l] > 0.0 { sign(new_signs[l]) * power(shift[l]) } else { 0.0 };
        flips |= u32::from((signs[l] >= 0.0) != (new_signs[l] >= 0.0)) << l;
    }
    (w, flips)
}

/// Moves 16 latents of a plane, and their momenta, along the gradient; returns the new latents.
#[inline(always)]
fn stepped(p: &Params, lr: f32, at: usize, gradient: &Lanes, plane: &mut Plane) -> Lanes {
    let values: &mut Lanes = plane.0[at..].first_chunk_mut().expect("whole blocks");
    let momenta: &mut Lanes = plane.1[at..].first_chunk_mut().expect("whole blocks");
    for l in 0..LANES {
        momenta[l] = p.momentum * momenta[l] + (gradient[l] + p.weight_decay * values[l]);
        values[l] -= lr * momenta[l];
    }
    *values
}
