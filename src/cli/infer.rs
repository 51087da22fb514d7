//! `shiftnet infer`

use super::progress::eprintln_lossy;
use super::{Outcome, arith, print, print_json};
use crate::data::pictures;
use crate::deploy::{Model, Session, packed};
use crate::engine::Target;
use crate::error::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A packed model (export --format packed)
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// JPEG, PNG or WebP files, or folders of them, in which files that cannot be read are left out (with exit code 1)
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,

    /// Classes to name for each image
    #[arg(short = 'k', long, value_name = "K", default_value_t = 3)]
    top: usize,

    #[command(flatten)]
    arith: arith::Args,

    /// Images of a batch [default: as many as there are, at most 64]
    #[arg(short = 'b', long, value_name = "N")]
    batch_size: Option<usize>,

    /// A part of an adapter's name, its index, or host
    #[arg(long, value_name = "NAME|INDEX|host")]
    adapter: Option<String>,

    /// One JSON object a line: an image each, then the rate
    #[arg(long)]
    json: bool,
}

/// A class that an image may be of.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Guess {
    class: String,
    probability: f64,
}

#[derive(Serialize)]
struct Line<'a> {
    image: &'a str,
    top: &'a [Guess],
}

pub fn run(args: &Args) -> Result<Outcome> {
    for (flag, value) in [("--top", args.top), ("--batch-size", args.batch_size.unwrap_or(1))] {
        if value == 0 {
            return Err(Error::setting(flag, value, "at least 1"));
        }
    }
    let arith = args.arith.arith()?;
    if args.model.is_dir() {
        let remedy = "Make one of a run with `shiftnet export RUN --format packed --out FILE`, and give that";
        return Err(Error::checkpoint(&args.model, "is a directory, and no packed model", remedy));
    }
    let model = packed::read(&args.model)?;
    let files = pictures::files(&args.images)?;
    let target = Target::choose(args.adapter.as_deref())?;
    let batch = args.batch_size.unwrap_or(64).min(files.len());
    let mut session = Session::new(&model, arith, batch, &target)?;
    let width = files.iter().map(|file| file.display().to_string().chars().count()).max().unwrap_or(0);
    let (mut seconds, mut seen) = (0.0, 0);
    for files in files.chunks(batch) {
        let (names, pixels) = read(args, files, model.input.image)?;
        let began = Instant::now();
        let logits = session.run(&pixels)?;
        seconds += began.elapsed().as_secs_f64();
        seen += names.len();
        for (file, logits) in names.into_iter().zip(logits) {
            if !logits.iter().all(|logit| logit.is_finite()) {
                let problem = format!("computes values that are not finite for {}", file.display());
                return Err(Error::checkpoint(
                    &args.model,
                    problem,
                    "Export it again, from a checkpoint that evaluates well",
                ));
            }
            let (name, top) = (file.display().to_string(), guesses(&model, &logits, args.top));
            match args.json {
                true => print_json(&Line { image: &name, top: &top })?,
                false => {
                    // Names come from a file: what would move a terminal's cursor is not printed.
                    let class = |g: &Guess| g.class.replace(char::is_control, "?");
                    let guess = |g: &Guess| format!("{} {:.1} %", class(g), 100.0 * g.probability);
                    let top: Vec<String> = top.iter().map(guess).collect();
                    print(&format!("{name:width$}  {}", top.join("  ")))?;
                }
            }
        }
    }
    let rate = if seen == 0 { 0.0 } else { seen as f64 / seconds };
    match args.json {
        true => print(&format!(r#"{{"images":{seen},"images_per_s":{rate:.1}}}"#))?,
        false => print(&format!("{seen} images, {rate:.1} images/s on {}", target.info()))?,
    }
    Ok(if seen == files.len() { Outcome::Done } else { Outcome::Failed })
}

/// Those of `files` that can be read, and their pixels one behind the other.
fn read<'a>(args: &Args, files: &'a [PathBuf], size: [usize; 2]) -> Result<(Vec<&'a PathBuf>, Vec<u8>)> {
    let (mut names, mut pixels) = (Vec::new(), Vec::new());
    for file in files {
        match pictures::read(file, size) {
            Ok(planes) => {
                names.push(file);
                pixels.extend(planes);
            }
            // One of many: the others are what is asked for.
            Err(error @ Error::Image { .. }) if !args.images.contains(file) => {
                eprintln_lossy(&format!("warning: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((names, pixels))
}

/// The `top` most probable classes: softmax of the logits. The first of equal ones comes first.
fn guesses(model: &Model, logits: &[f32], top: usize) -> Vec<Guess> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&l| f64::from(l - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let guess = |&i: &usize| Guess { class: model.input.classes[i].clone(), probability: weights[i] / sum };
    order.iter().take(top).map(guess).collect()
}
