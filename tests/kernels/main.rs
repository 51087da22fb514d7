//! Every kernel on the GPU against its CPU twin, the twins' gradients against finite differences, and the
//! comparison against shaders that are wrong on purpose.

#[path = "../common/mod.rs"]
mod common;

mod breaks;
mod close;
mod conv;
mod gradients;
mod layers;
mod norm;
mod suite;
mod training;

use breaks::BREAKS;
use shiftnet::engine::{Limits, Target};
use shiftnet::kernels;
use shiftnet::plan::List;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use suite::Suite;

static SUITE: LazyLock<Suite> = LazyLock::new(|| {
    let mut suite = Suite::default();
    conv::add(&mut suite);
    norm::add(&mut suite);
    layers::add(&mut suite);
    training::add(&mut suite);
    suite
});

fn gpu() -> Target {
    Target::choose(None).expect("the tests need an adapter, a software one at least")
}

/// Fails with every case that is off.
fn agrees(target: &Target) {
    let reports = SUITE.check(target, &SUITE.stems()).expect("the suite runs");
    assert_eq!(reports.len(), SUITE.cases.len());
    let wrong = reports.iter().filter_map(|(case, report)| {
        let problem = report.as_ref().err()?;
        Some(format!("{}, {}: {problem}", case.stem, case.name))
    });
    let wrong: Vec<String> = wrong.collect();
    let counts = format!("{} of {} cases are wrong on {}", wrong.len(), reports.len(), target.info());
    assert!(wrong.is_empty(), "{counts}:\n{}", wrong.join("\n"));
}

#[test]
fn kernels_agree_with_their_twins() {
    agrees(&gpu());
}

/// What every WebGPU device has is enough for every kernel.
#[test]
fn kernels_agree_under_default_limits() {
    agrees(&gpu().with_limits(Limits::Defaults));
}

#[test]
fn every_kernel_has_cases_folded_grids_and_breaks() {
    let all: BTreeSet<_> = kernels::ALL.iter().map(|kernel| kernel.stem).collect();
    assert_eq!(SUITE.stems(), all);
    assert_eq!(BREAKS.iter().map(|b| b.stem).collect::<BTreeSet<_>>(), all);
    // The loss is one workgroup whatever its size.
    let folded = SUITE.plan.list(List::Forward).iter().filter(|dispatch| dispatch.groups[1] > 1);
    let folded: BTreeSet<_> = folded.map(|dispatch| dispatch.stem).chain(["softmax_cross_entropy"]).collect();
    assert_eq!(folded, all);
}

/// The n-th breaks of all kernels share a plan, so that there are as few plans to load as can be.
#[test]
fn every_break_is_noticed() {
    let mut unnoticed = Vec::new();
    let mut left: Vec<_> = BREAKS.iter().collect();
    while !left.is_empty() {
        let mut stems = BTreeSet::new();
        let (round, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|b| stems.insert(b.stem));
        let broken = round.iter().fold(gpu(), |target, b| target.with_shader(b.stem, b.source()));
        let reports = SUITE.check(&broken, &stems).expect("broken shaders are still shaders");
        for b in round {
            if reports.iter().all(|(case, report)| case.stem != b.stem || report.is_ok()) {
                unnoticed.push(format!("{}: {}", b.stem, b.what));
            }
        }
        left = rest;
    }
    assert!(unnoticed.is_empty(), "nothing objects to\n{}", unnoticed.join("\n"));
}
