//! The S³ update: 16 weights at a time, in one pass over latents and momenta.

use super::lanes::{LANES, Lanes};
use crate::kernels::Step;
use crate::kernels::s3_update::Params;
use rayon::prelude::*;
use std::f32::consts::LN_2;

/// Weights of a task, a multiple of 64.
const TASK: usize = 4096;

/// The most shift latents a weight has.
const MOST_SHIFTS: usize = 30;

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
    let mut tasks: Vec<Task> =
        w.chunks_mut(TASK).zip(dw.chunks(TASK)).map(|(w, dw)| Task { w, dw, planes: Vec::new() }).collect();
    for (latents, momenta) in latents.chunks_exact_mut(len).zip(momenta.chunks_exact_mut(len)) {
        let chunks = latents.chunks_mut(TASK).zip(momenta.chunks_mut(TASK));
        tasks.iter_mut().zip(chunks).for_each(|(task, plane)| task.planes.push(plane));
    }
    let mut flipped = vec![0; layers.len()];
    tasks.into_par_iter().zip(flipped.par_chunks_mut(TASK / 64)).for_each(|(mut task, flipped)| {
        move_latents(p, lr, &mut task, flipped);
    });
    for (&layer, count) in layers.iter().zip(flipped) {
        let flips = &mut flips[layer as usize];
        *flips = flips.wrapping_add(count);
    }
}

/// A range of weights: gradients, and of each plane the latents and their momenta.
struct Task<'a> {
    w: &'a mut [f32],
    dw: &'a [f32],
    planes: Vec<(&'a mut [f32], &'a mut [f32])>,
}

vectorized! {
    /// Updates a task; flipped counts the signs that change among each 64 weights.
    fn move_latents(p: &Params, lr: f32, task: &mut Task, flipped: &mut [u32]) {
        let (w, _) = task.w.as_chunks_mut::<LANES>();
        for (i, (w, g)) in w.iter_mut().zip(task.dw.as_chunks::<LANES>().0).enumerate() {
            let (new, flips) = sixteen(p, lr, g, i * LANES, &mut task.planes);
            *w = new;
            flipped[i * LANES / 64] += flips;
        }
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

/// The new weights of the 16 from `at`, and how many signs changed. The same operations in the same order as the twin.
#[inline(always)]
fn sixteen(
    p: &Params,
    lr: f32,
    g: &Lanes,
    at: usize,
    planes: &mut [(&mut [f32], &mut [f32])],
) -> (Lanes, u32) {
    let gates = planes.len() - 2;
    let read =
        |plane: &(&mut [f32], &mut [f32])| -> Lanes { *plane.0[at..].first_chunk().expect("whole blocks") };
    // S_0 ... S_T of the old latents.
    let mut shifts = [[0.0; LANES]; MOST_SHIFTS + 1];
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
        flips += u32::from((signs[l] >= 0.0) != (new_signs[l] >= 0.0));
    }
    (w, flips)
}

/// Moves 16 latents of a plane, and their momenta, along the gradient; returns the new latents.
#[inline(always)]
fn stepped(p: &Params, lr: f32, at: usize, gradient: &Lanes, plane: &mut (&mut [f32], &mut [f32])) -> Lanes {
    let values: &mut Lanes = plane.0[at..].first_chunk_mut().expect("whole blocks");
    let momenta: &mut Lanes = plane.1[at..].first_chunk_mut().expect("whole blocks");
    for l in 0..LANES {
        momenta[l] = p.momentum * momenta[l] + (gradient[l] + p.weight_decay * values[l]);
        values[l] -= lr * momenta[l];
    }
    *values
}
