//! How training scales: images/s and memory against the batch, the depth and the bits of a weight.

use super::record::{ScalePoint, Times};
use super::runs::{Runner, Work};
use super::{Budget, Say, network};
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::method::{Method, MethodName};
use crate::model::Arch;
use crate::plan::lifetimes;
use std::time::Instant;

/// What varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    Batch,
    Depth,
    Bits,
}

impl Sweep {
    /// In the order in which they are measured.
    pub const ALL: [Sweep; 3] = [Sweep::Batch, Sweep::Depth, Sweep::Bits];

    /// In a record.
    pub fn name(self) -> &'static str {
        match self {
            Sweep::Batch => "batch",
            Sweep::Depth => "depth",
            Sweep::Bits => "bits",
        }
    }

    /// Whether each point is larger than the one before it, so that none fits after one that did not.
    fn grows(self) -> bool {
        self != Sweep::Bits
    }
}

/// A network to train for a few steps.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub arch: Arch,
    pub bits: u32,
    pub batch: usize,
}

const DEPTHS: [&str; 7] =
    ["resnet8", "resnet14", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"];

/// The settings of a sweep: all but what varies are those of `base`, and batches go up to `most`.
pub fn settings(sweep: Sweep, base: Setting, most: usize) -> Vec<Setting> {
    match sweep {
        Sweep::Batch => {
            let batches = (3..=10).map(|power| 1 << power).filter(|&batch| batch <= most);
            batches.map(|batch| Setting { batch, ..base }).collect()
        }
        Sweep::Depth => DEPTHS
            .iter()
            .map(|name| Setting { arch: name.parse().expect("these are known"), ..base })
            .collect(),
        Sweep::Bits => (2..=5).map(|bits| Setting { bits, ..base }).collect(),
    }
}

/// Steps before the timed ones, and of those at least.
const WARM_UP: f64 = 1.0;
const LEAST: usize = 2;

/// Share of the memory that a plan may take on an adapter that has no memory of its own.
const SHARE: f64 = 0.8;

/// Trains S³ at every one of `settings` for a few steps. A setting that does not fit the adapter's memory, or whose
/// steps would take longer than the time for a network, is left out with a word of why.
///
/// # Errors
/// What the engine reports, but for a lack of memory.
pub fn measure(
    sweep: Sweep,
    settings: &[Setting],
    (target, budget): (&Target, Budget),
    say: Say,
) -> Result<Vec<ScalePoint>> {
    let (mut points, mut rate) = (Vec::new(), None);
    for &setting in settings {
        match point(sweep, setting, (target, budget), rate)? {
            Ok((point, flops_per_ms)) => {
                rate = Some(flops_per_ms);
                points.push(point);
            }
            Err(why) => {
                let Setting { arch, bits, batch } = setting;
                say(&format!("left out: {arch}, {bits} bits, batch {batch}: {why}"));
                if sweep.grows() {
                    break;
                }
            }
        }
    }
    Ok(points)
}

/// A setting's point and the floating-point operations that it did a ms, or why it is left out. `rate` is that of the
/// setting before.
fn point(
    sweep: Sweep,
    setting: Setting,
    (target, budget): (&Target, Budget),
    rate: Option<f64>,
) -> Result<Result<(ScalePoint, f64), String>> {
    let Setting { arch, bits, batch } = setting;
    let method = Method::new(MethodName::S3, bits)?;
    let seconds = budget.of_run().seconds;
    // Planned before anything is allocated.
    let plan = match network(arch, method, batch, true, target) {
        Ok(network) => network.plan,
        Err(error @ Error::TooLarge { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    let plan_bytes = lifetimes::assign(&plan).bytes();
    if let Some(free) = free_memory(target).filter(|&free| plan_bytes as f64 > SHARE * free as f64) {
        return Ok(Err(format!("it needs {} MiB, and {} are free", plan_bytes >> 20, free >> 20)));
    }
    let flops: u64 = Work::Train.lists().iter().flat_map(|&list| plan.list(list)).map(|d| d.cost.flops).sum();
    let expected = rate.map_or(0.0, |rate| flops as f64 / rate / 1e3 * (WARM_UP + LEAST as f64));
    if expected > seconds {
        return Ok(Err(format!("its steps would take {expected:.0} s, and there are {seconds:.0}")));
    }
    drop(plan);
    let mut runner = match Runner::load(arch, method, batch, Work::Train, target) {
        Ok(runner) => runner,
        Err(error @ (Error::TooLarge { .. } | Error::Adapter { .. } | Error::Gpu(_))) => {
            return Ok(Err(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    runner.sample(WARM_UP as usize)?;
    let (mut samples, began) = (Vec::new(), Instant::now());
    while samples.len() < LEAST
        || (samples.len() < Budget::ENOUGH && began.elapsed().as_secs_f64() < seconds / 10.0)
    {
        samples.push(runner.sample(1)?);
    }
    let ms = Times::of(&samples);
    let point = ScalePoint {
        sweep: sweep.name().into(),
        arch: arch.to_string(),
        bits,
        batch,
        images_per_s: batch as f64 / ms.median * 1e3,
        ms,
        plan_bytes,
        resident_bytes: resident_memory(),
    };
    Ok(Ok((point, flops as f64 / ms.median)))
}

/// Bytes that are free on the host, where a plan for `target` lies there and the system tells.
fn free_memory(target: &Target) -> Option<u64> {
    if target.info().kind.on_cores() { kibibytes("/proc/meminfo", "MemAvailable:") } else { None }
}

/// Bytes of this process that are in memory, where the system tells.
pub fn resident_memory() -> Option<u64> {
    kibibytes("/proc/self/status", "VmRSS:")
}

/// A figure in kB of a file of the system, in bytes.
fn kibibytes(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Setting {
        Setting { arch: "resnet8".parse().expect("known"), bits: 3, batch: 2 }
    }

    #[test]
    fn sweeps_vary_one_thing() {
        let batches: Vec<usize> = settings(Sweep::Batch, base(), 64).iter().map(|s| s.batch).collect();
        assert_eq!(batches, [8, 16, 32, 64]);
        assert_eq!(settings(Sweep::Batch, base(), 5000).len(), 8);
        let depths = settings(Sweep::Depth, base(), 8);
        assert!(depths.iter().all(|s| s.bits == 3 && s.batch == 2) && depths.len() == 7);
        assert_eq!(settings(Sweep::Bits, base(), 8).iter().map(|s| s.bits).collect::<Vec<_>>(), [2, 3, 4, 5]);
    }

    /// The second setting cannot be done in the time, and the third is not tried.
    #[test]
    fn what_takes_too_long_is_left_out() {
        let settings = [2, 1 << 20, 4].map(|batch| Setting { batch, ..base() });
        let mut said = Vec::new();
        let budget = Budget { seconds: 0.2 };
        let adapter = (&Target::host(), budget);
        let points = measure(Sweep::Batch, &settings, adapter, &mut |line| said.push(line.to_string()));
        let points = points.expect("it runs");
        assert_eq!(points.iter().map(|p| p.batch).collect::<Vec<_>>(), [2]);
        assert!(points[0].images_per_s > 0.0 && points[0].plan_bytes > 0);
        assert!(said.len() == 1 && said[0].contains("batch 1048576"), "{said:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_its_memory() {
        let resident = resident_memory().expect("Linux tells");
        assert!(resident > 1 << 20 && resident < 1 << 44, "{resident}");
        assert_eq!(kibibytes("/proc/self/status", "NoSuchThing:"), None);
    }
}
