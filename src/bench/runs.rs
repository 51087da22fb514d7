//! Training steps and evaluations of whole networks.

use super::record::{Phases, RunTimes, Times};
use super::{Budget, Say, begin_step, deployed, feed, network};
use crate::engine::{Engine, Target};
use crate::error::Result;
use crate::method::{InitName, Method};
use crate::model::compile::Io;
use crate::model::{Arch, state, weights};
use crate::plan::{List, Plan, lifetimes};
use std::time::Instant;

/// What is done with a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Forward, backward, update.
    Train,
    /// Images to classes, with running statistics and plain weights.
    Infer,
}

impl Work {
    /// What one repetition runs.
    pub fn lists(self) -> &'static [List] {
        match self {
            Work::Train => &[List::Forward, List::Backward, List::Update],
            Work::Infer => &[List::Evaluate],
        }
    }
}

/// A sample lasts about this many seconds at least, so that waiting for its end weighs little.
const SAMPLE: f64 = 0.05;

/// Steps that are run before any is timed.
const WARM_UP: usize = 2;

/// The precision of the graph that is trained.
pub(super) const GRAPH: &str = "fp32";

/// Times that each phase is profiled.
const PROFILES: usize = 3;

/// A network on an adapter, ready to be measured.
pub struct Runner {
    pub(super) engine: Box<dyn Engine>,
    pub(super) io: Io,
    pub(super) method: Method,
    pub(super) work: Work,
    /// What it computes with, as records call it.
    pub(super) precision: &'static str,
    pub(super) step: u32,
}

impl Runner {
    /// Loads `arch` with initial weights. For [`Work::Infer`] they are the discrete weights of the method.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], [`crate::Error::Adapter`] or [`crate::Error::Gpu`] where it does not fit.
    pub fn load(arch: Arch, method: Method, batch: usize, work: Work, target: &Target) -> Result<Runner> {
        let (network, tensors) = match work {
            Work::Train => {
                let network = network(arch, method, batch, true, target)?;
                let tensors = state::initial(&network, InitName::Dense, 1);
                (network, tensors)
            }
            Work::Infer => {
                let own = super::network(arch, method, 1, true, target)?;
                let plain = weights::discretize(state::initial(&own, InitName::Dense, 1))
                    .expect("initial tensors are complete");
                let network = super::network(arch, Method::FP32, batch, false, target)?;
                let wanted = state::manifest(&network.store);
                (network, plain.into_iter().filter(|(name, _)| wanted.contains_key(name)).collect())
            }
        };
        let mut engine = target.load(network.plan.clone())?;
        state::upload(engine.as_mut(), &network, &tensors)?;
        feed(engine.as_mut(), &network.io, network.graph.classes(), 1)?;
        Ok(Runner { engine, io: network.io, method, work, precision: GRAPH, step: 0 })
    }

    /// What runs.
    pub fn plan(&self) -> &Plan {
        self.engine.plan()
    }

    /// Runs `count` steps and waits for them: milliseconds of one.
    pub fn sample(&mut self, count: usize) -> Result<f64> {
        let began = Instant::now();
        for _ in 0..count {
            self.step += 1;
            begin_step(self.engine.as_mut(), &self.io, self.step)?;
            for &list in self.work.lists() {
                self.engine.run(list)?;
            }
        }
        self.engine.poll(true)?;
        Ok(began.elapsed().as_secs_f64() * 1e3 / count as f64)
    }

    /// Milliseconds that the adapter works on each list, medians of [`PROFILES`].
    fn phases(&mut self) -> Result<Option<Vec<f64>>> {
        let lists = self.work.lists();
        let mut samples = vec![vec![]; lists.len()];
        for _ in 0..PROFILES {
            for (samples, &list) in samples.iter_mut().zip(lists) {
                let Some(spans) = self.engine.profile(list)? else { return Ok(None) };
                samples.push(spans.iter().map(|span| span.ms).sum::<f64>());
            }
        }
        Ok(Some(samples.iter().map(|samples| Times::of(samples).median).collect()))
    }

    /// The floating-point operations of a step.
    pub fn flops(&self) -> u64 {
        self.dispatches().map(|d| d.cost.flops).sum()
    }

    fn dispatches(&self) -> impl Iterator<Item = &crate::plan::Dispatch> {
        self.work.lists().iter().flat_map(|&list| self.plan().list(list))
    }
}

/// Measures `arch` with each of `methods` in turn, so that all see the same machine; inference also of the networks as they are
/// deployed.
///
/// # Errors
/// As [`Runner::load`], and what the engine reports.
pub fn measure(
    arch: Arch,
    methods: &[Method],
    batch: usize,
    work: Work,
    (target, budget): (&Target, Budget),
    say: Say,
) -> Result<Vec<RunTimes>> {
    let verb = if work == Work::Train { "training" } else { "inference" };
    say(&format!("{verb}: {arch}, batch {batch}"));
    let load = |&method: &Method| Runner::load(arch, method, batch, work, target);
    let mut runners: Vec<Runner> = methods.iter().map(load).collect::<Result<_>>()?;
    if work == Work::Infer {
        runners.extend(deployed::load(arch, methods, batch, target)?);
    }
    let mut counts = Vec::new();
    for runner in &mut runners {
        runner.sample(WARM_UP - 1)?;
        let ms = runner.sample(1)?;
        counts.push((SAMPLE * 1e3 / ms.max(1e-3)).ceil().clamp(1.0, 64.0) as usize);
    }
    let mut samples: Vec<Vec<f64>> = vec![vec![]; runners.len()];
    let (budget, began) = (budget.of_run(), Instant::now());
    while !budget.is_spent(samples[0].len(), began.elapsed().as_secs_f64()) {
        for (i, runner) in runners.iter_mut().enumerate() {
            samples[i].push(runner.sample(counts[i])?);
        }
    }
    // What is deployed is compared with what is deployed.
    let graph: Vec<bool> = runners.iter().map(|runner| runner.precision == GRAPH).collect();
    let full: Vec<bool> = runners.iter().map(|runner| !runner.method.is_discrete()).collect();
    let mut all = Vec::new();
    for (i, runner) in runners.iter_mut().enumerate() {
        let mut times = describe(arch, batch, runner, &samples[i])?;
        let plain = (0..full.len()).find(|&other| full[other] && graph[other] == graph[i] && other != i);
        if let (Some(plain), false) = (plain, full[i]) {
            let ratios: Vec<f64> =
                samples[i].iter().zip(&samples[plain]).map(|(own, plain)| own / plain).collect();
            times.time_over_fp32 = Some(Times::of(&ratios).median);
        }
        all.push(times);
    }
    Ok(all)
}

fn describe(arch: Arch, batch: usize, runner: &mut Runner, samples: &[f64]) -> Result<RunTimes> {
    let ms = Times::of(samples);
    let phases_ms = match (runner.work, runner.phases()?.as_deref()) {
        (Work::Train, Some(&[forward, backward, update])) => {
            let host = (ms.median - forward - backward - update).max(0.0);
            Some(Phases { forward, backward, update, host })
        }
        _ => None,
    };
    Ok(RunTimes {
        arch: arch.to_string(),
        method: name(runner.method),
        bits: runner.method.bits,
        batch,
        precision: runner.precision.into(),
        images_per_s: batch as f64 / ms.median * 1e3,
        gflop_per_s: runner.flops() as f64 / ms.median / 1e6,
        phases_ms,
        dispatches: runner.dispatches().count(),
        plan_bytes: lifetimes::assign(runner.plan()).bytes(),
        time_over_fp32: None,
        ms,
    })
}

/// The method's name in a record.
pub fn name(method: Method) -> String {
    method.name.to_string()
}
