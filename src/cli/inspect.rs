//! `shiftnet inspect`

use super::eval::Which;
use super::{Outcome, print};
use crate::columns::columns;
use crate::deploy::compile::{Inference, Options};
use crate::deploy::{Arith, Model, packed};
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::kernels::choose::Choices;
use crate::model::weights;
use crate::plan::lifetimes;
use crate::train::{checkpoint, run_dir, trained};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's directory, a safetensors or PyTorch file, or a packed model
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,

    /// Which of a run's checkpoints
    #[arg(long, default_value = "best")]
    checkpoint: Which,
}

pub fn run(args: &Args) -> Result<Outcome> {
    if packed::is_file(&args.path)? {
        return packed_model(&args.path);
    }
    let file = run_dir::weights_file(&args.path, args.checkpoint == Which::Last)?;
    let (tensors, progress) = checkpoint::read_weights(&file)?;
    if let Some(progress) = &progress {
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
    let method = trained::method(&tensors, progress.as_ref().map(|progress| &progress.settings));
    let plain = weights::discretize(tensors.clone())
        .map_err(|problem| Error::checkpoint(&file, problem, "Give a file with all latents of each layer"))?;
    let (mut all, mut small) = (0, 0);
    let alphabet = method.family().alphabet();
    let mut real = 0;
    let mut rows = Vec::new();
    for (name, (shape, values)) in &plain {
        // INQ's are real until they are all fixed.
        let latent = !tensors.contains_key(name);
        let discrete = latent && alphabet.is_some_and(|alphabet| alphabet.holds(values));
        real += usize::from(latent && !discrete);
        let bits = if discrete { method.bits } else { 32 };
        let (bytes, packed) = (values.len() * 4, (values.len() * bits as usize).div_ceil(8));
        let mut distinct: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let zeros = values.iter().filter(|v| **v == 0.0).count() as f64 / values.len().max(1) as f64;
        let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        rows.push(vec![
            name.clone(),
            shape,
            distinct.len().to_string(),
            format!("{:.1}%", 100.0 * zeros),
            bytes.to_string(),
            packed.to_string(),
        ]);
        all += bytes;
        small += packed;
    }
    let none = String::new;
    rows.push(vec!["total".into(), none(), none(), none(), all.to_string(), small.to_string()]);
    print(&columns(&["tensor", "shape", "distinct", "zero", "f32 bytes", "as stored*"], 1.., &rows))?;
    print(&match method.is_discrete() {
        true => format!("* discrete weights ({method}) at {} bits, everything else at 32", method.bits),
        false => "* all at 32 bits: this file has no discrete weights".into(),
    })?;
    if real > 0 {
        print(&format!("{real} layers are not discrete yet: some of their weights are still real numbers"))?;
    }
    Ok(Outcome::Done)
}

/// What is in a packed model, layer by layer, and what it takes to run.
fn packed_model(path: &Path) -> Result<Outcome> {
    let model = packed::read(path)?;
    let file = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?.len();
    let [h, w] = model.input.image;
    print(&format!(
        "packed {} shortcut {:?}, {}: {} classes of {h} x {w} images, {}",
        model.arch,
        model.shortcut,
        model.method,
        model.input.classes.len(),
        match model.exponents {
            Some(_) => "with ranges of activations for integers",
            None => "without ranges of activations: f32 only",
        }
    ))?;
    let Layers { mut rows, bytes, replaced, kept } = layers(&model)?;
    let [all, _] = model.weights();
    let bits = format!("{:.2}", 8.0 * bytes as f64 / all as f64);
    let whole = format!("the file has {file} bytes");
    rows.push(vec!["total".into(), String::new(), bytes.to_string(), bits, String::new(), whole]);
    print(&columns(&["layer", "shape", "bytes", "bits*", "zero", "weights by value"], 1..5, &rows))?;
    print("* bytes of weights, scales and biases, a weight")?;
    print(&format!(
        "A forward pass of one image: {replaced} multiply-adds are a shift and an addition each (zeros need none), {kept} \
         stay multiply-adds"
    ))?;
    for (name, arith) in [("float", Arith::Float), ("shift, 8 bits", Arith::Shift { bits: 8 })] {
        let options =
            Options { batch: 1, arith, unpacked: false, capabilities: Target::host().capabilities() };
        let memory = Inference::compile(&model, options, &Choices::default());
        print(&match memory {
            Ok(inference) => format!(
                "Memory at one image, --arith {name}: {} bytes, of which weights {}",
                lifetimes::assign(&inference.plan).bytes(),
                inference.weight_bytes()
            ),
            Err(error) => format!("--arith {name} cannot run it: {error}"),
        })?;
    }
    Ok(Outcome::Done)
}

/// What the layers of a packed model are.
struct Layers {
    /// A row a layer.
    rows: Vec<Vec<String>>,
    /// Of all.
    bytes: u64,
    /// Multiplications of a forward pass that are shifts, and those that stay.
    replaced: u64,
    kept: u64,
}

fn layers(model: &Model) -> Result<Layers> {
    let alphabet = model.method.family().alphabet();
    let graph = model.graph()?;
    let [mut bytes, mut replaced, mut kept] = [0u64; 3];
    let mut rows = Vec::new();
    for node in &graph.nodes {
        let Some(conv) = model.convs.get(&node.name) else { continue };
        let stored = packed::conv_bytes(conv, alphabet.as_ref());
        let zeros = conv.weight.iter().filter(|w| **w == 0.0).count();
        let nonzero = (conv.weight.len() - zeros) as u64;
        let pixels = (node.shape[0] * node.shape[1]) as u64;
        match conv.discrete {
            true => replaced += pixels * nonzero,
            false => kept += pixels * nonzero,
        }
        bytes += stored as u64;
        rows.push(vec![
            node.name.clone(),
            conv.shape.map(|d| d.to_string()).join("x"),
            stored.to_string(),
            format!("{:.2}", 8.0 * stored as f64 / conv.weight.len() as f64),
            format!("{:.1}%", 100.0 * zeros as f64 / conv.weight.len() as f64),
            if conv.discrete { values(&conv.weight) } else { "f32".into() },
        ]);
    }
    let classifier = 4 * (model.fc[0].len() + model.fc[1].len());
    let none = String::new;
    rows.push(vec!["fc".into(), "f32".into(), classifier.to_string(), none(), none(), none()]);
    bytes += classifier as u64;
    kept += model.fc[0].len() as u64;
    Ok(Layers { rows, bytes, replaced, kept })
}

/// How many weights have each value, from the smallest on.
fn values(weights: &[f32]) -> String {
    let mut counts: Vec<(f32, usize)> = Vec::new();
    let mut sorted = weights.to_vec();
    sorted.sort_by(f32::total_cmp);
    for value in sorted {
        match counts.last_mut() {
            Some((last, count)) if *last == value => *count += 1,
            _ => counts.push((value, 1)),
        }
    }
    counts.iter().map(|(value, count)| format!("{value}: {count}")).collect::<Vec<_>>().join("  ")
}
