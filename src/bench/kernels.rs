//! Each kernel at the shapes of a network's layers, on buffers that rotate.

use super::check::{self, Bytes};
use super::record::{Bound, Ceilings, KernelTimes, Times};
use super::{Budget, Say, network};
use crate::engine::{Engine, Target, WARM_UP};
use crate::error::Result;
use crate::kernels;
use crate::method::Method;
use crate::model::{Arch, Network};
use crate::plan::{Dispatch, Elem, List, Plan, Role, View};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// A kernel at one shape.
#[derive(Clone, Debug)]
pub struct Case {
    /// The first dispatch of this shape. Its views say how long they are; the buffers are not these.
    pub dispatch: Dispatch,
    /// Where that dispatch stands: its list, and its number among those of its kernel and layer there.
    pub list: List,
    pub nth: usize,
    /// Dispatches of this shape in a training step.
    pub count: usize,
}

/// How many of `dispatches` before number `i` are of its kernel and layer.
pub(super) fn nth(dispatches: &[Dispatch], i: usize) -> usize {
    let own = &dispatches[i];
    dispatches[..i].iter().filter(|d| (d.stem, &d.label) == (own.stem, &own.label)).count()
}

/// The distinct kernels and shapes of a network's training step and evaluation, in the order of their first use.
pub fn cases(network: &Network) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut known = HashMap::new();
    for list in [List::Forward, List::Backward, List::Update, List::Evaluate] {
        let dispatches = network.plan.list(list);
        for (i, dispatch) in dispatches.iter().enumerate() {
            let lens: Vec<usize> = dispatch.views.iter().map(|view| view.len).collect();
            let key = (dispatch.stem, dispatch.variant, dispatch.params.clone(), lens);
            let at = *known.entry(key).or_insert(cases.len());
            if at == cases.len() {
                cases.push(Case { dispatch: dispatch.clone(), list, nth: nth(dispatches, i), count: 0 });
            }
            cases[at].count += usize::from(list != List::Evaluate);
        }
    }
    cases
}

/// A dispatch's parameters as `n128 h32 ...`: those that are counts, and not 0.
pub fn shape(dispatch: &Dispatch) -> String {
    let value = |&(name, at): &(&str, usize)| {
        let word = u32::from_le_bytes(dispatch.params.get(at..at + 4)?.try_into().ok()?);
        // Larger words are f32: rates, which are no part of a shape.
        (0 < word && word < 1 << 24).then(|| format!("{name}{word}"))
    };
    kernels::get(dispatch.stem).params.iter().filter_map(value).collect::<Vec<_>>().join(" ")
}

/// Copies of a case's buffers together have about this many bytes, more than the caches of most devices.
const ROTATED: u64 = 128 << 20;

/// Copies at most: what is so small that these fit a cache costs its start, not its traffic.
const MOST_COPIES: u64 = 128;

/// Samples of one case at most.
const MOST_SAMPLES: usize = 400;

/// Dispatches that are timed at once take about this many ms.
const RUN: f64 = 50.0;

/// Cases on an adapter, with buffers of their own.
pub struct Bench {
    engine: Box<dyn Engine>,
    /// Of each case: its dispatches in the plan, every copy twice, and the views of each copy.
    places: Vec<(Range<usize>, Vec<Vec<View>>)>,
}

impl Bench {
    /// Loads `cases` onto `target`. They share memory: [`Bench::fill`] comes before [`Bench::run`], case by case.
    ///
    /// # Errors
    /// As [`Target::load`].
    pub fn load(cases: &[Case], target: &Target) -> Result<Bench> {
        let mut plan = Plan::default();
        let mut places = Vec::new();
        for case in cases {
            let bytes: u64 = case.dispatch.views.iter().map(|view| view.len as u64 * 4).sum();
            let copies = ROTATED.div_ceil(bytes.max(1)).clamp(1, MOST_COPIES) as usize;
            let copies: Vec<Vec<View>> = (0..copies).map(|_| buffers(&mut plan, &case.dispatch)).collect();
            let first = plan.list(List::Forward).len();
            // Twice, so that all copies are alive at once and none shares its memory with another.
            for views in copies.iter().chain(&copies) {
                plan.push(List::Forward, Dispatch { views: views.clone(), ..case.dispatch.clone() });
            }
            places.push((first..plan.list(List::Forward).len(), copies));
        }
        Ok(Bench { engine: target.load(Arc::new(plan))?, places })
    }

    /// Fills every copy of case `case` with `inputs`, each repeated as often as it takes.
    pub fn fill(&mut self, case: usize, inputs: &Bytes) -> Result<()> {
        for views in &self.places[case].1 {
            for (&view, input) in views.iter().zip(inputs) {
                let bytes = view.len * 4;
                let whole: Vec<u8> = input.iter().copied().cycle().take(bytes).collect();
                self.engine.write(view, if input.len() == bytes { input } else { &whole })?;
            }
        }
        self.engine.poll(true)
    }

    /// What the first copy of case `case` holds.
    pub fn views(&mut self, case: usize) -> Result<Bytes> {
        self.places[case].1[0].iter().map(|&view| self.engine.fetch(view)).collect()
    }

    /// Runs the first copy of case `case` once.
    pub fn run_once(&mut self, case: usize) -> Result<()> {
        let first = self.places[case].0.start;
        self.engine.run_part(List::Forward, first..first + 1)
    }

    /// Milliseconds of `count` dispatches of case `case`, one copy after the other from number `from` on: by the
    /// adapter's clock, or, where it has none, by the host's, with the wait for the end.
    pub fn run(&mut self, case: usize, from: usize, count: usize) -> Result<Vec<f64>> {
        let range = self.places[case].0.clone();
        let mut times = Vec::with_capacity(count);
        while times.len() < count {
            let begin = range.start + (from + times.len()) % range.len();
            let end = range.end.min(begin + count - times.len());
            match self.engine.profile_part(List::Forward, begin..end)? {
                Some(spans) => times.extend(spans.iter().map(|span| span.ms)),
                None => {
                    let began = Instant::now();
                    self.engine.run_part(List::Forward, begin..begin + 1)?;
                    self.engine.poll(true)?;
                    times.push(began.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        Ok(times)
    }

    /// Samples of case `case`, after some that do not count.
    pub fn samples(&mut self, case: usize, budget: Budget) -> Result<Vec<f64>> {
        let warm = self.run(case, 0, 1)?[0];
        let at_once = (RUN / warm.max(1e-3)).ceil().clamp(1.0, 64.0) as usize;
        let began = Instant::now();
        while warm < WARM_UP.as_secs_f64() * 1e3 && began.elapsed() < WARM_UP {
            self.run(case, 0, at_once)?;
        }
        let (mut samples, began) = (Vec::new(), Instant::now());
        while !budget.is_spent(samples.len(), began.elapsed().as_secs_f64()) && samples.len() < MOST_SAMPLES {
            let more = self.run(case, 1 + samples.len(), at_once)?;
            samples.extend(more);
        }
        Ok(samples)
    }
}

/// Buffers for the views of `dispatch`.
fn buffers(plan: &mut Plan, dispatch: &Dispatch) -> Vec<View> {
    let bindings = kernels::get(dispatch.stem).bindings.iter().zip(&dispatch.views);
    bindings
        .map(|(binding, view)| {
            let name = format!("{} {} {}", dispatch.stem, dispatch.label, binding.name);
            plan.buffer(name, &[view.len], binding.elem, Role::Scratch)
        })
        .collect()
}

/// Measures the kernels of `arch` at `batch` images on `target`, against `ceilings`.
///
/// # Errors
/// [`crate::Error::Wrong`] where a kernel differs from its twin; as [`Target::load`].
pub fn measure(
    arch: Arch,
    method: Method,
    batch: usize,
    ceilings: &Ceilings,
    (target, budget): (&Target, Budget),
    say: Say,
) -> Result<Vec<KernelTimes>> {
    let network = network(arch, method, batch, true, target)?;
    let cases = cases(&network);
    let checked = check::check(arch, method, (&cases, batch), target, say)?;
    say(&format!("{arch}: timing {} kernels at batch {batch}", cases.len()));
    let mut bench = Bench::load(&cases, target)?;
    let mut all = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        let inputs = checked.inputs[i].clone().unwrap_or_else(|| ones(&case.dispatch));
        bench.fill(i, &inputs)?;
        let ms = Times::of(&bench.samples(i, budget)?);
        all.push(KernelTimes { checked: checked.done[i], ..describe(arch, batch, case, ms, ceilings) });
    }
    let step: f64 = all.iter().map(|k| k.count as f64 * k.ms.median).sum();
    for kernel in &mut all {
        kernel.share_of_step = kernel.count as f64 * kernel.ms.median / step;
    }
    Ok(all)
}

/// 1 in every f32 binding and 0 in the others: for a kernel that was not seen at work.
fn ones(dispatch: &Dispatch) -> Bytes {
    let word = |elem| if elem == Elem::F32 { 1f32.to_bits() } else { 0 };
    let bindings = kernels::get(dispatch.stem).bindings;
    bindings.iter().map(|binding| word(binding.elem).to_le_bytes().to_vec()).collect()
}

fn describe(arch: Arch, batch: usize, case: &Case, ms: Times, ceilings: &Ceilings) -> KernelTimes {
    let cost = case.dispatch.cost;
    let (flops, bytes) = (cost.flops as f64, cost.bytes as f64);
    let per_s = |amount: f64| amount / ms.median / 1e6;
    let shares = [per_s(flops) / ceilings.fma_f32_gflop_per_s, per_s(bytes) / ceilings.copy_gb_per_s];
    let bound = if shares[0] > shares[1] { Bound::Compute } else { Bound::Memory };
    KernelTimes {
        arch: arch.to_string(),
        batch,
        kernel: case.dispatch.stem.into(),
        variant: case.dispatch.variant.into(),
        layer: case.dispatch.label.clone(),
        shape: shape(&case.dispatch),
        count: case.count,
        share_of_step: 0.0,
        checked: false,
        gflop_per_s: per_s(flops),
        gb_per_s: per_s(bytes),
        bound,
        share: shares[0].max(shares[1]),
        share_of_gemm: (bound == Bound::Compute).then(|| per_s(flops) / ceilings.gemm_f32_gflop_per_s),
        ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::lifetimes;

    fn resnet8(batch: usize) -> Network {
        let arch = "resnet8".parse().expect("a known architecture");
        network(arch, Method::FP32, batch, true, &Target::host()).expect("a small network")
    }

    #[test]
    fn cases_are_distinct_and_count_all() {
        let network = resnet8(2);
        let cases = cases(&network);
        let step = [List::Forward, List::Backward, List::Update].map(|list| network.plan.list(list).len());
        let step: usize = step.iter().sum();
        assert_eq!(cases.iter().map(|case| case.count).sum::<usize>(), step);
        assert!(cases.len() < step + network.plan.list(List::Evaluate).len());
        // 3x3 at 16 channels: the stem has another shape, both convolutions of the first block share theirs.
        let same = |case: &&Case| {
            case.list == List::Forward
                && case.dispatch.stem == "conv2d_forward"
                && case.dispatch.label.contains("layer1")
        };
        let found: Vec<&Case> = cases.iter().filter(same).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].count, 2);
        assert!(shape(&found[0].dispatch).contains("k16 r3 s3"), "{}", shape(&found[0].dispatch));
    }

    /// No two copies of a case share memory: together they are what is rotated.
    #[test]
    fn copies_are_apart() {
        let cases = cases(&resnet8(2));
        let bench = Bench::load(&cases[..4], &Target::host()).expect("it fits");
        let slots = lifetimes::assign(bench.engine.plan());
        for (_, copies) in &bench.places {
            let mut own: Vec<usize> = copies.iter().flatten().map(|v| slots.of_buffer[v.buffer.0]).collect();
            own.sort_unstable();
            let all = own.len();
            own.dedup();
            assert_eq!(own.len(), all);
        }
    }

    #[test]
    fn samples_are_taken_and_buffers_filled() {
        let cases = cases(&resnet8(2));
        let mut bench = Bench::load(&cases, &Target::host()).expect("it fits");
        let at = cases.iter().position(|case| case.dispatch.stem == "sgd").expect("fp32 has one");
        bench.fill(at, &ones(&cases[at].dispatch)).expect("it runs");
        assert!(bench.views(at).expect("it runs")[2].chunks(4).all(|word| word == 1f32.to_le_bytes()));
        let samples = bench.samples(at, Budget { seconds: 0.01 }).expect("it runs");
        assert!(samples.len() >= Budget::LEAST && samples.iter().all(|ms| *ms > 0.0));
    }
}
