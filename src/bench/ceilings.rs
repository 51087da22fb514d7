//! What an adapter reaches at most, measured in the same run as what is compared with it.

use super::check;
use super::kernels::{Bench, Case};
use super::record::{Ceilings, Times};
use super::{Budget, Say, host};
use crate::engine::Target;
use crate::error::Result;
use crate::kernels::conv2d_forward::{self, Params};
use crate::kernels::{Variant, with_variant};
use crate::plan::{AdapterKind, List, Plan};
use crate::rng::{Draws, Stream};

/// Rows and columns of the matrices whose product is a ceiling.
pub const GEMM: usize = 1024;

/// Measures the ceilings of `target`.
///
/// # Errors
/// As [`Target::load`]; [`crate::Error::Wrong`] where the matrix product is wrong.
pub fn measure(target: &Target, budget: Budget, say: Say) -> Result<Ceilings> {
    say("ceilings: memory, multiply-adds, matrix product");
    let (gemm_f32_gflop_per_s, gemm_kernel) = gemm(target, budget)?;
    Ok(match target.rates()? {
        Some(rates) => Ceilings {
            copy_gb_per_s: rates.copy,
            fma_f32_gflop_per_s: rates.fma_f32,
            fma_f16_gflop_per_s: rates.fma_f16,
            dot4i8_gop_per_s: Some(rates.dot4i8),
            gemm_f32_gflop_per_s,
            gemm_kernel,
        },
        None => Ceilings {
            copy_gb_per_s: host::copy(),
            fma_f32_gflop_per_s: host::fma(),
            fma_f16_gflop_per_s: None,
            dot4i8_gop_per_s: None,
            gemm_f32_gflop_per_s,
            gemm_kernel,
        },
    })
}

/// GFLOP/s of the product of two [`GEMM`] x [`GEMM`] matrices by the fastest of the convolution's kernels, and which
/// that is. The product is a 1 x 1 convolution of 1024 pixels from 1024 to 1024 channels.
pub fn gemm(target: &Target, budget: Budget) -> Result<(f64, String)> {
    let cases = products(target)?;
    let mut bench = Bench::load(&cases, target)?;
    let mut draws = Draws::new(3, Stream::Init, 0, 0);
    let mut random = || (0..GEMM * GEMM).flat_map(|_| draws.normal().to_le_bytes()).collect::<Vec<u8>>();
    let inputs = vec![random(), random(), vec![0; 4], vec![0; 4]];
    let (mut best, mut want) = ((0.0, String::new()), None);
    for (i, case) in cases.iter().enumerate() {
        bench.fill(i, &inputs)?;
        let before = bench.views(i)?;
        bench.run_once(i)?;
        let want = want.get_or_insert_with(|| check::twin(&case.dispatch, &before));
        check::compare(&case.dispatch, &bench.views(i)?, want, &target.info().name)?;
        let ms = Times::of(&bench.samples(i, budget)?).median;
        let rate = case.dispatch.cost.flops as f64 / ms / 1e6;
        if rate > best.0 {
            best = (rate, format!("{} {}", case.dispatch.stem, case.dispatch.variant).trim().to_string());
        }
    }
    Ok(best)
}

/// The product by every variant of the convolution; on the host engine, where they are one, by the first.
fn products(target: &Target) -> Result<Vec<Case>> {
    let capabilities = target.capabilities();
    let count =
        if capabilities.kind == AdapterKind::Host { 1 } else { conv2d_forward::KERNEL.variants.len() };
    let whole = Params::new([1, 32, 32, GEMM], GEMM, 1, 1);
    let runs = |variant: &&Variant| variant.runs_on(&capabilities) && variant.fits(&whole);
    let product = |variant: &'static Variant| {
        let params = whole.cut(variant, capabilities.invocations(), false);
        let mut plan = Plan::default();
        let [x, w, y] = ["x", "w", "y"].map(|name| plan.scratch(name, &[GEMM, GEMM]));
        let partial = plan.scratch("partial", &[params.partial_len()]);
        let dispatch = conv2d_forward::dispatch("matrix product", params, [x, w], y, partial)?;
        Ok(Case { dispatch: with_variant(dispatch, variant), list: List::Forward, nth: 0, count: 0 })
    };
    conv2d_forward::KERNEL.variants.iter().take(count).filter(runs).map(product).collect()
}
