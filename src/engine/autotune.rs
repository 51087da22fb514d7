//! Measuring which variant of a kernel is the fastest for each shape of a plan, once an adapter.

use super::{Engine, Target, WARM_UP};
use crate::cache;
use crate::error::Result;
use crate::kernels::choose::{self, Chosen};
use crate::kernels::conv2d_forward::Params as Conv;
use crate::kernels::{
    Kernel, Needs, Variant, all, conv2d_forward, conv2d_input_grad, conv2d_weight_grad, get, with_variant,
};
use crate::plan::{AdapterKind, Capabilities, Dispatch, Elem, List, Plan, Role, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// The kernels with variants that training runs.
const TRAINED: [&str; 3] = ["conv2d_forward", "conv2d_input_grad", "conv2d_weight_grad"];

/// Runs of each candidate after those that warm up; an odd number, so that one is the median.
const RUNS: usize = 5;

/// What was measured on one adapter, as the cache keeps it.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Measured {
    /// Name, kind, backend and driver.
    adapter: String,
    /// A checksum of all shaders: a changed one may be faster or slower.
    shaders: u32,
    chosen: Chosen,
}

/// The fastest variants for the shapes of `plan` on `target`, and what there is to say about it. What an earlier call
/// measured comes from the cache.
///
/// # Errors
/// Those of [`Target::load`] and of the runs.
pub fn measure(target: &Target, plan: &Plan) -> Result<(Chosen, Vec<String>)> {
    if target.info().kind == AdapterKind::Host {
        return Ok((Chosen::new(), vec!["the host engine has no variants to measure".into()]));
    }
    let mut notes = Vec::new();
    let fresh = Measured { adapter: target.info().to_string(), shaders: shaders(), chosen: Chosen::new() };
    let directory = cache::directory();
    // With checks other variants may be the fastest.
    let checked = if target.is_checked() { "-checked" } else { "" };
    let file = format!("variants-{:08x}{checked}.json", target.info().hash());
    let kept = directory.as_ref().and_then(|directory| cache::read(directory, &file));
    let mut measured = match kept.map(|bytes| parse(&bytes, &fresh)) {
        Some(Ok(kept)) => kept,
        Some(Err(problem)) => {
            notes.push(format!("warning: {file} in the cache {problem}; measuring again"));
            fresh
        }
        None => fresh,
    };
    // Of several dispatches of a problem the first, which is the training step's, with statistics.
    let mut problems: BTreeMap<String, &Dispatch> = BTreeMap::new();
    for dispatch in List::ALL.iter().flat_map(|&list| plan.list(list)) {
        if let Some(problem) = choose::problem(dispatch).filter(|_| TRAINED.contains(&dispatch.stem)) {
            problems.entry(problem).or_insert(dispatch);
        }
    }
    let mut new = 0;
    for (problem, dispatch) in &problems {
        if !measured.chosen.contains_key(problem) {
            measured.chosen.insert(problem.clone(), fastest(target, dispatch)?.to_string());
            new += 1;
        }
    }
    if let (Some(directory), 1..) = (directory, new) {
        cache::write(&directory, &file, &serde_json::to_vec_pretty(&measured).expect("plain data"));
    }
    notes.push(format!("measured variants for {new} shapes, {} were known", problems.len() - new));
    measured.chosen.retain(|problem, _| problems.contains_key(problem));
    Ok((measured.chosen, notes))
}

/// A checksum of every variant's text, and of how their work is cut.
fn shaders() -> u32 {
    let mut hash = crc32fast::Hasher::new();
    for cut in [conv2d_forward::MOST_CHUNKS, conv2d_weight_grad::THREADS_OVER_INVOCATIONS] {
        hash.update(&cut.to_le_bytes());
    }
    all().flat_map(|kernel| kernel.variants).for_each(|variant| hash.update(variant.text().as_bytes()));
    hash.finalize()
}

/// The cache's content, where it is of the adapter and the shaders of `now`.
fn parse(bytes: &[u8], now: &Measured) -> Result<Measured, String> {
    let kept: Measured = serde_json::from_slice(bytes).map_err(|e| format!("is damaged ({e})"))?;
    if kept.adapter != now.adapter {
        return Err(format!("is of {}", kept.adapter));
    }
    if kept.shaders != now.shaders {
        return Err("is of other shaders".into());
    }
    Ok(kept)
}

/// Whether there is nothing to measure. Tiles and direct variants wait at barriers, which cost too much on CPU cores. Subgroups share
/// loads, which GPUs have caches for; and the compiler of a driver (Mesa 22.3's for AMD's RDNA 2) ends the program at them.
fn is_hopeless(variant: &Variant, kind: AdapterKind) -> bool {
    match kind {
        AdapterKind::Software => variant.is_tiled(),
        _ => variant.needs == Needs::Subgroups,
    }
}

/// The name of the variant that runs `dispatch`'s shape in the shortest time.
fn fastest(target: &Target, dispatch: &Dispatch) -> Result<&'static str> {
    let kernel = get(dispatch.stem);
    let capabilities = target.capabilities();
    let conv = Conv::of(&dispatch.params);
    let able = |v: &&Variant| v.runs_on(&capabilities) && v.fits(&conv) && !is_hopeless(v, capabilities.kind);
    let variants: Vec<_> = kernel.variants.iter().filter(able).collect();
    let mut plan = Plan::default();
    for variant in &variants {
        let candidate = candidate(&mut plan, kernel, conv, variant, &capabilities)?;
        plan.push(List::Forward, candidate);
    }
    let mut engine = target.load(Arc::new(plan))?;
    let began = Instant::now();
    while began.elapsed() < WARM_UP {
        milliseconds(engine.as_mut(), variants.len())?;
    }
    let mut times = vec![Vec::with_capacity(RUNS); variants.len()];
    for _ in 0..RUNS {
        let once = milliseconds(engine.as_mut(), variants.len())?;
        times.iter_mut().zip(once).for_each(|(times, time)| times.push(time));
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let timed = variants.iter().zip(times).map(|(variant, times)| (variant.name, median(times)));
    let best = timed.min_by(|a, b| a.1.total_cmp(&b.1));
    Ok(best.expect("a kernel has a variant that runs everywhere").0)
}

/// Milliseconds of each of the `count` dispatches; by the host's clock where the adapter has none.
fn milliseconds(engine: &mut dyn Engine, count: usize) -> Result<Vec<f64>> {
    if let Some(spans) = engine.profile(List::Forward)? {
        return Ok(spans.iter().map(|span| span.ms).collect());
    }
    let time = |i| {
        let begin = Instant::now();
        engine.run_part(List::Forward, i..i + 1)?;
        engine.poll(true)?;
        Ok(begin.elapsed().as_secs_f64() * 1e3)
    };
    (0..count).map(time).collect()
}

/// `conv` as `variant` would compute it in a plan, on buffers of its own. They hold zeros, which take as long as other
/// numbers.
fn candidate(
    plan: &mut Plan,
    kernel: &Kernel,
    conv: Conv,
    variant: &'static Variant,
    capabilities: &Capabilities,
) -> Result<Dispatch> {
    let invocations = capabilities.invocations();
    let mut conv = conv.cut(variant, invocations, conv.stats == 1);
    conv.splits = conv2d_weight_grad::splits(&conv, variant, invocations) as u32;
    let mut buffer = |name: &str, len: usize| -> View {
        // The candidates share the operands.
        match plan.buffers.iter().position(|b| b.name == name && b.len() == len) {
            Some(i) => View { buffer: crate::plan::BufferId(i), offset: 0, len },
            None => plan.buffer(name, &[len], Elem::F32, Role::State),
        }
    };
    let [x, w, y] =
        [("x", conv.x_len()), ("w", conv.w_len()), ("y", conv.y_len())].map(|(n, l)| buffer(n, l));
    let dispatch = match kernel.stem {
        "conv2d_forward" => {
            let partial = buffer("partial", conv.partial_len());
            conv2d_forward::dispatch(variant.name, conv, [x, w], y, partial)
        }
        "conv2d_input_grad" => conv2d_input_grad::dispatch(variant.name, conv, y, w, x),
        "conv2d_weight_grad" => {
            let partial = buffer("partial", conv.splits as usize * conv.w_len());
            conv2d_weight_grad::dispatch(variant.name, conv, x, y, partial)
        }
        other => unreachable!("{other} is not among those of TRAINED"),
    };
    Ok(with_variant(dispatch?, variant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_adapter_has_something_to_measure() {
        for stem in TRAINED {
            let measured = |kind| {
                let variants = get(stem).variants.iter().filter(move |v| !is_hopeless(v, kind));
                variants.map(|v| v.name).collect::<Vec<_>>()
            };
            assert_eq!(measured(AdapterKind::Software), ["registers", "subgroup"], "{stem}");
            for kind in [AdapterKind::Discrete, AdapterKind::Integrated, AdapterKind::Other] {
                let names = measured(kind);
                assert!(!names.contains(&"subgroup") && names.len() >= 6, "{stem}: {names:?}");
            }
        }
    }

    #[test]
    fn a_cache_that_is_damaged_or_foreign_is_refused() {
        let now = Measured { adapter: "a".into(), shaders: 7, chosen: Chosen::new() };
        let bytes = |adapter: &str, shaders| {
            let chosen = Chosen::from([("conv".to_string(), "tile".to_string())]);
            serde_json::to_vec(&Measured { adapter: adapter.into(), shaders, chosen }).expect("plain data")
        };
        assert_eq!(parse(&bytes("a", 7), &now).expect("its own").chosen.len(), 1);
        assert!(parse(&bytes("b", 7), &now).expect_err("another adapter").contains("is of b"));
        assert!(parse(&bytes("a", 8), &now).expect_err("other shaders").contains("shaders"));
        assert!(parse(&bytes("a", 7)[1..], &now).expect_err("torn").contains("damaged"));
    }
}
