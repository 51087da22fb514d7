//! Every kernel on the GPU and on CPU cores against its twin, the twins' gradients against finite differences, and the
//! comparison against shaders that are wrong on purpose.

mod breaks;
mod close;
mod compare;
mod conv;
mod gradients;
mod integers;
mod layers;
mod norm;
mod suite;
mod training;
mod updates;

use breaks::{Break, breaks};
use shiftnet::engine::{Limits, Target};
use shiftnet::kernels::choose::{self, Choices};
use shiftnet::kernels::{self, Needs};
use shiftnet::plan::List;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use suite::Suite;

static SUITE: LazyLock<Suite> = LazyLock::new(|| {
    let mut suite = Suite::default();
    conv::add(&mut suite);
    norm::add(&mut suite);
    layers::add(&mut suite);
    integers::add(&mut suite);
    training::add(&mut suite);
    updates::add(&mut suite);
    suite
});

fn gpu() -> Target {
    Target::choose(Some("0")).expect("the tests need an adapter, a software one at least").checked(true)
}

/// Fails with every case that is off.
fn agrees(target: &Target) {
    agree(&SUITE, target, &SUITE.stems());
}

fn agree(suite: &Suite, target: &Target, stems: &BTreeSet<&'static str>) {
    let reports = suite.check(target, stems).expect("the suite runs");
    assert_eq!(reports.len(), suite.cases.iter().filter(|case| stems.contains(case.stem)).count());
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

/// A target that runs `variant` wherever it can.
fn forced(variant: &str) -> Target {
    gpu().with_choices(Choices::forced(variant).expect("a variant"))
}

/// Every variant but the first, which runs above, with the fewest limits and features that it needs.
#[test]
fn variants_agree_with_their_twins() {
    variants_agree(&SUITE);
}

fn variants_agree(suite: &Suite) {
    let all = kernels::all().flat_map(|k| k.variants.iter().skip(1).map(|v| (v.name, (k.stem, v.needs))));
    let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
    all.for_each(|(name, kernel)| by_name.entry(name).or_default().push(kernel));
    assert!(by_name.len() > 5);
    for (name, of) in by_name {
        let stems = of.iter().map(|(stem, _)| *stem).collect();
        let target = forced(name);
        match of[0].1 {
            Needs::Defaults => agree(suite, &target.with_limits(Limits::Defaults), &stems),
            Needs::Subgroups if target.capabilities().subgroups => agree(suite, &target, &stems),
            Needs::Subgroups => eprintln!("skipped {name}: {} has no subgroups for it", target.info()),
        }
    }
}

/// As they run by default, and with their parameters as constants.
#[test]
fn variants_without_checks_agree_with_their_twins() {
    let mut suite = Suite::default();
    conv::add_one(&mut suite);
    integers::add_one(&mut suite);
    agree(&suite, &gpu().checked(false), &suite.stems());
    for name in ["tile-32x32", "direct-1", "direct-2"] {
        for specialized in [false, true] {
            agree(&suite, &forced(name).checked(false).specialized(specialized), &suite.stems());
        }
    }
}

/// On other shapes than those of the suite: `SHIFTNET_SUITES` says how many times other ones, once without it.
#[test]
fn kernels_and_variants_agree_on_random_shapes() {
    let suites =
        std::env::var("SHIFTNET_SUITES").map_or(1, |suites| suites.parse().expect("a number of suites"));
    assert!(suites > 0, "SHIFTNET_SUITES is 0");
    for number in 0..suites {
        eprintln!("suite {number}");
        let mut suite = Suite::default();
        let draws = &mut suite::draws(&format!("random shapes {number}"));
        for add in [conv::add_random, norm::add_random, layers::add_random, integers::add_random] {
            add(&mut suite, draws);
        }
        agree(&suite, &gpu(), &suite.stems());
        variants_agree(&suite);
        agree(&suite, &Target::host(), &suite.stems());
    }
}

#[test]
fn the_hosts_kernels_agree_with_their_twins() {
    agrees(&Target::host());
}

/// However many threads share the work, the results have the same bytes.
#[test]
fn threads_change_no_result_of_the_host() {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        pool.install(|| SUITE.run(&Target::host(), &SUITE.stems(), false)).expect("the suite runs")
    };
    let expected = on(1);
    assert!(expected.iter().flatten().flatten().any(|&word| word != 0));
    for threads in [2, 3] {
        let got = on(threads);
        let wrong =
            SUITE.cases.iter().zip(&got).zip(&expected).filter(|((_, got), expected)| got != expected);
        let wrong: Vec<_> = wrong.map(|((case, _), _)| format!("{}, {}", case.stem, case.name)).collect();
        assert!(wrong.is_empty(), "{threads} threads and one differ in\n{}", wrong.join("\n"));
    }
}

#[test]
fn every_kernel_has_cases_folded_grids_and_breaks() {
    let all: BTreeSet<_> = kernels::all().map(|kernel| kernel.stem).collect();
    assert_eq!(SUITE.stems(), all);
    assert_eq!(breaks().map(|b| b.stem).collect::<BTreeSet<_>>(), all);
    let families = kernels::all().flat_map(|k| k.variants.iter().map(|v| (k.stem, v.family())));
    let broken = breaks().map(|b| (b.stem, b.variant().family()));
    assert_eq!(broken.collect::<BTreeSet<_>>(), families.collect());
    // No variant is passed over in all cases of its kernel.
    for kernel in kernels::all().filter(|kernel| kernel.variants.len() > 1) {
        let cases = || SUITE.plan.list(List::Forward).iter().filter(|d| d.stem == kernel.stem);
        for variant in kernel.variants {
            let taken = cases().filter(|d| choose::fits(variant, d)).count();
            assert!(taken >= 6, "{taken} cases of {} fit {}", kernel.stem, variant.name);
        }
    }
    // The loss is one workgroup whatever its size.
    let folded = SUITE.plan.list(List::Forward).iter().filter(|dispatch| dispatch.groups[1] > 1);
    let folded: BTreeSet<_> = folded.map(|dispatch| dispatch.stem).chain(["softmax_cross_entropy"]).collect();
    assert_eq!(folded, all);
}

/// The n-th breaks of all kernels by one variant share a plan, so that there are as few plans to load as can be.
#[test]
fn every_break_is_noticed() {
    let mut unnoticed = Vec::new();
    let mut left: Vec<_> = breaks().collect();
    while !left.is_empty() {
        let mut stems = BTreeSet::new();
        let variant = left[0].variant;
        let now = |b: &&Break| b.variant == variant && stems.insert(b.stem);
        let (round, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(now);
        left = rest;
        let target = variant.map_or_else(gpu, forced);
        if !round[0].variant().runs_on(&target.capabilities()) {
            continue;
        }
        let broken = round.iter().fold(target, |target, b| target.with_shader(&b.shader(), b.source()));
        let reports = SUITE.check(&broken, &stems).expect("broken shaders are still shaders");
        for b in round {
            if reports.iter().all(|(case, report)| case.stem != b.stem || report.is_ok()) {
                unnoticed.push(format!("{} {}: {}", b.stem, b.variant().name, b.what));
            }
        }
    }
    assert!(unnoticed.is_empty(), "nothing objects to\n{}", unnoticed.join("\n"));
}
