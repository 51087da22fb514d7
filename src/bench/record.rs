//! What a benchmark writes: one JSON object a file, the same for this program and for those it is compared with.

use crate::error::{Error, Result};
use crate::gpu::AdapterInfo;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Everything that one run of a benchmark measured, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub tool: String,
    pub version: String,
    /// Year, month, day.
    pub date: String,
    /// Of the program's source; empty where the build did not know it.
    #[serde(default)]
    pub commit: String,
    pub command: String,
    pub machine: Machine,
    pub adapter: AdapterInfo,
    #[serde(default)]
    pub ceilings: Ceilings,
    #[serde(default)]
    pub kernels: Vec<KernelTimes>,
    #[serde(default)]
    pub train: Vec<RunTimes>,
    #[serde(default)]
    pub infer: Vec<RunTimes>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scale: Vec<ScalePoint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataTimes>,
}

/// How fast images are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataTimes {
    /// What is done with each: decode, evaluation crop or training crop.
    pub work: String,
    pub threads: usize,
    pub images: usize,
    pub images_per_s: f64,
}

/// The machine that hosts the adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name; empty where the system does not tell.
    pub cpu: String,
    pub cores: usize,
}

/// The best rates that simple loops reach on the adapter. 0 is for what was not measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ceilings {
    /// Bytes read and written by a copy of buffers larger than the caches.
    pub copy_gb_per_s: f64,
    /// 1 multiply-add = 2.
    pub fma_f32_gflop_per_s: f64,
    /// None where the adapter has no f16.
    pub fma_f16_gflop_per_s: Option<f64>,
    /// 4 multiply-adds of 8-bit integers = 8.
    pub dot4i8_gop_per_s: Option<f64>,
    /// The product of two 1024 x 1024 matrices, by the best of the convolution's kernels.
    pub gemm_f32_gflop_per_s: f64,
    /// Which kernel that was.
    pub gemm_kernel: String,
}

/// Milliseconds of repeated work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    pub median: f64,
    /// Between the first and the third quartile.
    pub spread: f64,
    pub samples: usize,
}

impl Times {
    /// Of at least one sample.
    pub fn of(samples: &[f64]) -> Times {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Times {
            median: quantile(&sorted, 0.5),
            spread: quantile(&sorted, 0.75) - quantile(&sorted, 0.25),
            samples: sorted.len(),
        }
    }
}

/// The value below which a share of `sorted` lies, between neighbours linearly.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - place.floor())
}

/// What bounds a kernel: the larger of its arithmetic at the FMA ceiling and its traffic at the copy ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    Compute,
    Memory,
}

/// A kernel at one shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KernelTimes {
    pub arch: String,
    pub batch: usize,
    pub kernel: String,
    pub variant: String,
    /// The first layer that has this shape.
    pub layer: String,
    /// The kernel's parameters.
    pub shape: String,
    /// Dispatches of this shape in a training step.
    pub count: usize,
    /// Of the time of all dispatches of a training step.
    pub share_of_step: f64,
    /// Whether the result was compared with the CPU twin's.
    pub checked: bool,
    pub ms: Times,
    pub gflop_per_s: f64,
    pub gb_per_s: f64,
    pub bound: Bound,
    /// Of the ceiling that bounds it.
    pub share: f64,
    /// Of the best matrix product's rate, where arithmetic bounds it.
    pub share_of_gemm: Option<f64>,
}

/// Training steps or evaluations of a network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunTimes {
    pub arch: String,
    pub method: String,
    pub bits: u32,
    pub batch: usize,
    pub precision: String,
    pub ms: Times,
    pub images_per_s: f64,
    pub gflop_per_s: f64,
    /// None where the adapter has no clock for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phases_ms: Option<Phases>,
    /// Dispatches a step.
    #[serde(default)]
    pub dispatches: usize,
    /// Bytes of the plan's buffers.
    #[serde(default)]
    pub plan_bytes: u64,
    /// The time over that of fp32 in the same rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_over_fp32: Option<f64>,
}

/// Milliseconds of a training step: on the adapter, and what of the step it did not work.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Phases {
    pub forward: f64,
    pub backward: f64,
    pub update: f64,
    pub host: f64,
}

/// A few training steps at one size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScalePoint {
    /// What varies: batch, depth or bits.
    pub sweep: String,
    pub arch: String,
    pub bits: u32,
    pub batch: usize,
    pub ms: Times,
    pub images_per_s: f64,
    /// Bytes of the plan's buffers.
    pub plan_bytes: u64,
    /// Of this process, where the system tells.
    pub resident_bytes: Option<u64>,
}

impl Record {
    /// An empty record of this program on `adapter`.
    pub fn new(adapter: AdapterInfo) -> Record {
        let (version, commit) = crate::VERSION.split_once(" (").unwrap_or((crate::VERSION, ""));
        let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        Record {
            tool: "shiftnet".into(),
            version: version.into(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            commit: commit.trim_end_matches(')').into(),
            command: std::iter::once("shiftnet".to_string()).chain(arguments).collect::<Vec<_>>().join(" "),
            machine: Machine::this(),
            adapter,
            ceilings: Ceilings::default(),
            kernels: vec![],
            train: vec![],
            infer: vec![],
            scale: vec![],
            data: vec![],
        }
    }

    /// Reads a record that a benchmark wrote.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] where the file is something else.
    pub fn read(path: &Path) -> Result<Record> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        serde_json::from_str(&text).map_err(|e| {
            let problem = format!("is no record of a benchmark ({e})");
            Error::data(path, problem, "Give a file that `shiftnet bench --json` wrote")
        })
    }
}

impl Machine {
    /// The one that runs this program.
    pub fn this() -> Machine {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Machine {
            cpu: name.map_or(String::new(), |(_, name)| name.trim().into()),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quartiles() {
        let times = Times::of(&[5.0, 1.0, 2.0, 4.0, 3.0]);
        assert_eq!((times.median, times.spread, times.samples), (3.0, 2.0, 5));
        let times = Times::of(&[1.0, 2.0]);
        assert_eq!((times.median, times.spread), (1.5, 0.5));
        assert_eq!(Times::of(&[7.0]), Times { median: 7.0, spread: 0.0, samples: 1 });
    }

    /// A record of another tool has fewer keys, and is read.
    #[test]
    fn what_is_absent_is_not_measured() {
        let text = r#"{"tool":"burn","version":"1","date":"2026-01-02","command":"x","machine":{"cpu":"","cores":2},
            "adapter":{"name":"a","kind":"software","backend":"b","driver":"d"},"ceilings":{"gemm_f32_gflop_per_s":11.5},
            "infer":[{"arch":"resnet20","method":"s3","bits":3,"batch":8,"precision":"fp32","compile":false,
            "ms":{"median":2,"spread":0.5,"samples":3},"images_per_s":4,"gflop_per_s":1}]}"#;
        let record: Record = serde_json::from_str(text).expect("a record");
        assert_eq!((record.ceilings.gemm_f32_gflop_per_s, record.ceilings.copy_gb_per_s), (11.5, 0.0));
        assert_eq!((record.infer[0].ms.median, record.kernels.len()), (2.0, 0));
    }
}
