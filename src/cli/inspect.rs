//! `shiftnet inspect`

use super::{Outcome, print};
use crate::error::{Error, Result};
use crate::method::MethodName;
use crate::model::weights;
use crate::train::{checkpoint, run_dir};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's directory, or a safetensors file
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,

    /// A run's last checkpoint in place of its best
    #[arg(long)]
    last: bool,
}

pub fn run(args: &Args) -> Result<Outcome> {
    let file = run_dir::weights_file(&args.path, args.last);
    let (tensors, progress) = checkpoint::read_weights(&file)?;
    if let Some(progress) = progress {
        let name = |key: &str| progress.settings[key].as_str().unwrap_or("?").to_string();
        print(&format!(
            "checkpoint of {} shortcut {} on {}: step {}, epoch {}{}",
            name("arch"),
            name("shortcut").to_uppercase(),
            name("dataset"),
            progress.step,
            progress.epoch,
            progress.best.map_or(String::new(), |best| format!(", best top-1 {best:.2} %"))
        ))?;
    }
    let method = weights::method_of(&tensors);
    let plain = weights::discretize(tensors.clone())
        .map_err(|problem| Error::checkpoint(&file, problem, "Give a file with all latents of each layer"))?;
    let width = plain.keys().map(String::len).max().unwrap_or(0).max("total".len());
    print(&format!(
        "{:width$}  {:>16}  {:>8}  {:>6}  {:>10}  {:>10}",
        "tensor", "shape", "distinct", "zero", "f32 bytes", "as stored*"
    ))?;
    let (mut all, mut small) = (0, 0);
    for (name, (shape, values)) in &plain {
        let discrete = !tensors.contains_key(name);
        let bits = if discrete { method.bits } else { 32 };
        let (bytes, packed) = (values.len() * 4, (values.len() * bits as usize).div_ceil(8));
        let mut distinct: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let zeros = values.iter().filter(|v| **v == 0.0).count() as f64 / values.len().max(1) as f64;
        let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        print(&format!(
            "{name:width$}  {shape:>16}  {:>8}  {:>5.1}%  {bytes:>10}  {packed:>10}",
            distinct.len(),
            100.0 * zeros
        ))?;
        all += bytes;
        small += packed;
    }
    print(&format!("{:width$}  {:>16}  {:>8}  {:>6}  {all:>10}  {small:>10}", "total", "", "", ""))?;
    print(&match method.name {
        MethodName::S3 => format!("* discrete weights at {} bits, everything else at 32", method.bits),
        MethodName::Fp32 => "* all at 32 bits: this file has no discrete weights".into(),
    })?;
    Ok(Outcome::Done)
}
