//! `shiftnet inspect`

mod model;

use super::eval::Which;
use super::{Outcome, print, print_json};
use crate::columns::columns;
use crate::deploy::packed;
use crate::error::{Error, Result};
use crate::method::{Method, MethodName};
use crate::model::weights;
use crate::train::{checkpoint, run_dir, trained};
use model::Packed;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's directory, a safetensors or PyTorch file, or a packed model
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,

    /// Which of a run's checkpoints
    #[arg(long, default_value = "best")]
    checkpoint: Which,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Outcome> {
    match packed::is_file(&args.path)? {
        true => {
            let packed = Packed::read(&args.path)?;
            if args.json { print_json(&packed)? } else { packed.print()? }
        }
        false => {
            let weights = Weights::read(&run_dir::weights_file(&args.path, args.checkpoint == Which::Last)?)?;
            if args.json { print_json(&weights)? } else { weights.print()? }
        }
    }
    Ok(Outcome::Done)
}

/// Which weights.
#[derive(Serialize)]
struct Kind {
    method: MethodName,
    /// Of a discrete weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<u32>,
    #[serde(skip)]
    whole: Method,
}

impl Kind {
    fn of(whole: Method) -> Kind {
        Kind { method: whole.name(), bits: whole.is_discrete().then(|| whole.bits()), whole }
    }
}

/// What is in a checkpoint or another file of weights.
#[derive(Serialize)]
struct Weights {
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Trained>,
    #[serde(flatten)]
    kind: Kind,
    tensors: Vec<Tensor>,
}

/// Which run a checkpoint is of, and where that stood.
#[derive(Serialize)]
struct Trained {
    arch: String,
    shortcut: String,
    dataset: String,
    step: u64,
    epoch: u64,
    /// The best `val_top1` so far, in percent.
    best: Option<f64>,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    /// Whether it is of a layer with latents.
    latent: bool,
    /// Whether all of its values are of the method's alphabet.
    discrete: bool,
    /// How many different values it has, and how many of them are zeros.
    distinct: usize,
    zeros: usize,
    bytes_f32: usize,
    bytes_stored: usize,
}

impl Weights {
    fn read(file: &Path) -> Result<Weights> {
        let (tensors, progress) = checkpoint::read_weights(file)?;
        let method = trained::method(&tensors, progress.as_ref().map(|progress| &progress.settings));
        let plain = weights::discretize(tensors.clone()).map_err(|problem| {
            Error::checkpoint(file, problem, "Give a file with all latents of each layer")
        })?;
        let alphabet = method.family().alphabet();
        let tensor = |(name, (shape, values)): (String, (Vec<usize>, Vec<f32>))| {
            // INQ's are real until they are all fixed.
            let latent = !tensors.contains_key(&name);
            let discrete = latent && alphabet.as_ref().is_some_and(|alphabet| alphabet.holds(&values));
            let bits = if discrete { method.bits() } else { 32 };
            let mut distinct: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
            distinct.sort_unstable();
            distinct.dedup();
            Tensor {
                name,
                shape,
                latent,
                discrete,
                distinct: distinct.len(),
                zeros: values.iter().filter(|v| **v == 0.0).count(),
                bytes_f32: values.len() * 4,
                bytes_stored: (values.len() * bits as usize).div_ceil(8),
            }
        };
        let run = progress.map(|progress| {
            let name = |key: &str| progress.settings[key].as_str().unwrap_or("?").to_string();
            Trained {
                arch: name("arch"),
                shortcut: name("shortcut"),
                dataset: name("dataset"),
                step: progress.step,
                epoch: progress.epoch,
                best: progress.best,
            }
        });
        let tensors = plain.into_iter().map(tensor).collect();
        Ok(Weights { run, kind: Kind::of(method), tensors })
    }

    fn print(&self) -> Result<()> {
        if let Some(Trained { arch, shortcut, dataset, step, epoch, best }) = &self.run {
            let shortcut = shortcut.to_uppercase();
            let best = best.map_or(String::new(), |best| format!(", best top-1 {best:.2} %"));
            print(&format!(
                "checkpoint of {arch} shortcut {shortcut} on {dataset}: step {step}, epoch {epoch}{best}"
            ))?;
        }
        let row = |tensor: &Tensor| {
            let values = tensor.bytes_f32 / 4;
            vec![
                tensor.name.clone(),
                dimensions(&tensor.shape),
                tensor.distinct.to_string(),
                percent(tensor.zeros, values),
                tensor.bytes_f32.to_string(),
                tensor.bytes_stored.to_string(),
            ]
        };
        let mut rows: Vec<_> = self.tensors.iter().map(row).collect();
        let sum = |of: fn(&Tensor) -> usize| self.tensors.iter().map(of).sum::<usize>().to_string();
        let none = String::new;
        let bytes = [sum(|tensor| tensor.bytes_f32), sum(|tensor| tensor.bytes_stored)];
        rows.push(["total".into(), none(), none(), none()].into_iter().chain(bytes).collect());
        print(&columns(&["tensor", "shape", "distinct", "zero", "f32 bytes", "as stored*"], 1.., &rows))?;
        let method = self.kind.whole;
        print(&match method.is_discrete() {
            true => format!("* discrete weights ({method}) at {} bits, everything else at 32", method.bits()),
            false => "* all at 32 bits: this file has no discrete weights".into(),
        })?;
        match self.tensors.iter().filter(|tensor| tensor.latent && !tensor.discrete).count() {
            0 => Ok(()),
            n => print(&format!(
                "{n} layers are not discrete yet: some of their weights are still real numbers"
            )),
        }
    }
}

fn dimensions(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

fn percent(part: usize, all: usize) -> String {
    format!("{:.1}%", 100.0 * part as f64 / all.max(1) as f64)
}
