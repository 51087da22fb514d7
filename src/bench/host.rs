//! The ceilings of the CPU cores, by plain loops on all threads.

use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Bytes of each of the two buffers of a copy: together larger than any cache.
const COPY: usize = 128 << 20;
const SAMPLES: usize = 5;

/// Bytes read and written a second by a copy on all threads, in GB: the best of a few samples.
pub fn copy() -> f64 {
    let from = vec![1u8; COPY];
    let mut to = vec![0u8; COPY];
    let part = COPY.div_ceil(rayon::current_num_threads());
    let seconds = fastest(|| {
        to.par_chunks_mut(part).zip(from.par_chunks(part)).for_each(|(to, from)| to.copy_from_slice(from));
        black_box(&mut to);
    });
    2.0 * COPY as f64 / seconds / 1e9
}

/// f32 multiply-adds a second times 2 on all threads, in GFLOP: the best of a few samples and of the
/// instruction sets that this processor has.
pub fn fma() -> f64 {
    const ROUNDS: usize = 1 << 20;
    const TASKS: usize = 8;
    let threads = rayon::current_num_threads() * TASKS;
    let rate = |(lanes, run): &Set| {
        let seconds = fastest(|| {
            (0..threads).into_par_iter().for_each(|_| {
                black_box(run(black_box(ROUNDS)));
            });
        });
        2.0 * (threads * ROUNDS * lanes) as f64 / seconds / 1e9
    };
    sets().iter().map(rate).fold(0.0, f64::max)
}

/// Seconds of the fastest of a few repetitions, after one that does not count.
fn fastest(mut work: impl FnMut()) -> f64 {
    work();
    let mut time = || {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64()
    };
    (0..SAMPLES).map(|_| time()).fold(f64::INFINITY, f64::min)
}

/// `LANES` independent chains a = a * m + k, `rounds` links each: their sum.
#[inline(always)]
fn chains<const LANES: usize>(rounds: usize, mul_add: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut a: [f32; LANES] = std::array::from_fn(|i| i as f32);
    let (m, k) = black_box((0.75f32, 0.5f32));
    for _ in 0..rounds {
        for a in &mut a {
            *a = mul_add(*a, m, k);
        }
    }
    a.iter().sum()
}

/// Numbers that a loop works on at once, and the loop: rounds to their sum.
type Set = (usize, fn(usize) -> f32);

/// The loops that this processor can run, with the numbers each works on at once: enough to fill its pipelines, few
/// enough to stay in registers.
fn sets() -> Vec<Set> {
    // Without an instruction for it `mul_add` is a call: a product and a sum then are the fastest form.
    let mut sets: Vec<Set> = vec![(32, |rounds| chains::<32>(rounds, |a, m, k| a * m + k))];
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2(rounds: usize) -> f32 {
            chains::<80>(rounds, f32::mul_add)
        }
        #[target_feature(enable = "avx512f,fma")]
        fn avx512(rounds: usize) -> f32 {
            chains::<192>(rounds, f32::mul_add)
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has these instructions.
            sets.push((80, |rounds| unsafe { avx2(rounds) }));
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has these instructions.
            sets.push((192, |rounds| unsafe { avx512(rounds) }));
        }
    }
    #[cfg(target_arch = "aarch64")]
    sets.push((64, |rounds| chains::<64>(rounds, f32::mul_add)));
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every set runs the same chains: they end at k / (1 - m) = 2.
    #[test]
    fn chains_are_computed() {
        for (lanes, run) in sets() {
            let sum = run(200);
            assert!((sum - 2.0 * lanes as f32).abs() < 1e-3 * lanes as f32, "{lanes}: {sum}");
        }
    }
}
