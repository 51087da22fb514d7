//! Training and inference rates of CIFAR ResNets in Burn on wgpu, S³ and full precision in turn. Prints JSON.
//!
//! A sample is the mean of `--steps` steps between two synchronizations; the methods take turns, `--rounds` times, so
//! that all see the same machine. A training step is forward, backward and update, on images already on the device.

mod measure;
mod model;
mod s3;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::cubecl::config::cache::CacheConfig;
use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use burn::tensor::{Device, DeviceKind, Tensor};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

use measure::{Training, gemm, images, median, spread, timed};

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Method {
    S3,
    Fp32,
    Both,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Phase {
    Train,
    Infer,
    Both,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// What wgpu prefers: a fast GPU, else what there is.
    Default,
    Discrete,
    Integrated,
    Software,
}

/// Training and inference rates of CIFAR ResNets in Burn on wgpu, as JSON.
#[derive(Parser)]
struct Args {
    /// resnet<6n+2>.
    #[arg(long, default_value = "resnet20", value_parser = depth)]
    arch: usize,
    #[arg(long, default_value_t = 128, value_parser = count)]
    batch_size: usize,
    #[arg(long, value_enum, default_value_t = Method::Both)]
    method: Method,
    /// Bits of an S³ weight.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=5))]
    bits: u32,
    #[arg(long, value_enum, default_value_t = Phase::Both)]
    phase: Phase,
    #[arg(long, value_enum, default_value_t = Kind::Default)]
    device: Kind,
    /// Steps a sample.
    #[arg(long, default_value_t = 1, value_parser = count)]
    steps: usize,
    /// Samples of each row.
    #[arg(long, default_value_t = 3, value_parser = count)]
    rounds: usize,
    /// Steps before the first sample; the very first tunes Burn's kernels, which takes long on a software adapter.
    #[arg(long, default_value_t = 2, value_parser = count)]
    warm_up: usize,
    /// Where Burn keeps what its tuning found [default: the user's cache directory].
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Write there instead of to the standard output.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a whole number above 0".into())
}

/// n of resnet<6n+2>.
fn depth(text: &str) -> Result<usize, String> {
    let layers = text.strip_prefix("resnet").and_then(|d| d.parse::<usize>().ok());
    match layers {
        Some(layers) if layers >= 8 && layers % 6 == 2 => Ok((layers - 2) / 6),
        _ => Err("expected resnet<6n+2>, such as resnet20".into()),
    }
}

/// One row of the report in the making.
struct Case {
    phase: &'static str,
    method: &'static str,
    work: Box<dyn FnMut()>,
    samples: Vec<f64>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("burn-peer: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let mut config = CubeClRuntimeConfig::default().override_from_env();
    config.environment.path = args.cache.clone().map_or(CacheConfig::Global, CacheConfig::Directory);
    CubeClRuntimeConfig::set(config);

    let kind = match args.device {
        Kind::Default => DeviceKind::DefaultDevice,
        Kind::Discrete => DeviceKind::DiscreteGpu(0),
        Kind::Integrated => DeviceKind::IntegratedGpu(0),
        Kind::Software => DeviceKind::Cpu,
    };
    let (device, setup) = Device::wgpu_options()
        .device_kind(kind)
        .init_with_setup()
        .map_err(|e| format!("no device for --device: {e}"))?;
    let info = setup.adapter.get_info();
    device.seed(1);

    let rate = gemm(&device, 10)?;
    eprintln!("GEMM {rate:.1} GFLOP/s");
    let mut cases = cases(args, &device);
    for case in &mut cases {
        let start = Instant::now();
        timed(&device, args.warm_up, &mut case.work)?;
        eprintln!("{} {}: warm after {:.0} s", case.phase, case.method, start.elapsed().as_secs_f64());
    }
    for _ in 0..args.rounds {
        for case in &mut cases {
            case.samples.push(timed(&device, args.steps, &mut case.work)?);
        }
    }

    let report = json!({
        "tool": "burn",
        "version": "0.22.1",
        "date": jiff::Timestamp::now().strftime("%F").to_string(),
        "command": std::env::args().collect::<Vec<_>>().join(" "),
        "machine": machine(),
        "adapter": {
            "name": info.name,
            "kind": format!("{:?}", info.device_type).to_lowercase(),
            "backend": info.backend.to_string(),
            "driver": format!("{} {}", info.driver, info.driver_info).trim(),
        },
        "ceilings": {"gemm_f32_gflop_per_s": rate},
        "kernels": [],
        "train": rows(args, &cases, "train"),
        "infer": rows(args, &cases, "infer"),
    });
    let text = serde_json::to_string_pretty(&report).expect("a JSON value prints");
    match &args.json {
        Some(path) => std::fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display())),
        None => {
            println!("{text}");
            Ok(())
        }
    }
}

fn cases(args: &Args, device: &Device) -> Vec<Case> {
    let mut cases = Vec::new();
    for (method, name, bits) in [(Method::S3, "s3", Some(args.bits)), (Method::Fp32, "fp32", None)] {
        if args.method != method && args.method != Method::Both {
            continue;
        }
        let mut training = Training::new(args.arch, bits, args.batch_size, device);
        let model = training.model().deployed(device);
        let mut add = |phase, work: Box<dyn FnMut()>| {
            cases.push(Case { phase, method: name, work, samples: Vec::new() })
        };
        if args.phase != Phase::Infer {
            add("train", Box::new(move || drop(training.step())));
        }
        if args.phase != Phase::Train {
            let x: Tensor<4> = images(args.batch_size, device);
            add("infer", Box::new(move || drop(model.forward(x.clone()))));
        }
    }
    cases
}

fn rows(args: &Args, cases: &[Case], phase: &str) -> Vec<Value> {
    let (forward, training) = model::gflop(args.arch);
    let gflop = if phase == "train" { training } else { forward };
    cases
        .iter()
        .filter(|case| case.phase == phase)
        .map(|case| {
            let median = median(&case.samples);
            let rate = 1e3 * args.batch_size as f64 / median;
            let mut row = json!({
                "arch": format!("resnet{}", 6 * args.arch + 2),
                "method": case.method,
                "batch": args.batch_size,
                "precision": "fp32",
                "compile": false,
                "ms": {"median": median, "spread": spread(&case.samples), "samples": case.samples.len()},
                "images_per_s": rate,
                "gflop_per_s": rate * gflop,
            });
            if case.method == "s3" {
                row["bits"] = args.bits.into();
            }
            row
        })
        .collect()
}

/// The processor's name (empty where the system does not say) and the usable cores.
fn machine() -> Value {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    json!({
        "cpu": cpu.trim_start_matches([' ', '\t', ':']),
        "cores": std::thread::available_parallelism().map_or(1, |n| n.get()),
    })
}
