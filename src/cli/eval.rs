//! `shiftnet eval`

use super::{Outcome, print, print_json};
use crate::data::{self, DatasetName, Need, Source};
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::method::{Method, MethodName};
use crate::model::{Arch, Shortcut, weights};
use crate::train::evaluate::{self, Evaluator};
use crate::train::{RunDir, checkpoint, run_dir};
use std::path::PathBuf;

/// Which of a run's checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    #[default]
    Best,
    Last,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's directory, or a safetensors file
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,

    /// Dataset whose test images to use [default: the run's, else synthetic]
    #[arg(long)]
    dataset: Option<DatasetName>,

    /// Directory (or archive) of the dataset's files [default: the run's]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Architecture [default: the run's or the checkpoint's]
    #[arg(short = 'a', long, value_name = "NAME")]
    arch: Option<Arch>,

    /// Shortcut [default: the run's or the checkpoint's, else b]
    #[arg(long)]
    shortcut: Option<Shortcut>,

    /// Method that the file must be of
    #[arg(long)]
    method: Option<MethodName>,

    /// Bits that the file's weights must have
    #[arg(long, value_name = "N")]
    bits: Option<u32>,

    /// Which of a run's checkpoints
    #[arg(long, default_value = "best")]
    checkpoint: Which,

    /// Use the first N test images
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Images of a batch
    #[arg(short = 'b', long, value_name = "N", default_value_t = 100)]
    batch_size: usize,

    /// Seed of the synthetic images [default: the run's, else 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// A part of an adapter's name, its index, or host
    #[arg(long, value_name = "NAME|INDEX|host")]
    adapter: Option<String>,

    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Outcome> {
    for (flag, value) in [("--batch-size", args.batch_size), ("--limit", args.limit.unwrap_or(1))] {
        if value == 0 {
            return Err(Error::setting(flag, value, "at least 1"));
        }
    }
    let file = run_dir::weights_file(&args.path, args.checkpoint == Which::Last);
    let own = match args.path.is_dir() {
        true => Some(RunDir::new(&args.path).config()?.settings),
        false => None,
    };
    let mut stated = None;
    if checkpoint::is_checkpoint(&file) {
        let (_, progress) = checkpoint::read(&file)?;
        stated = Some(progress.settings);
    }
    let tensors = weights::read(&file)?;
    let from_file = |key: &str| stated.as_ref().and_then(|s| s[key].as_str().map(str::to_string));
    let arch = match (args.arch, from_file("arch")) {
        (Some(arch), _) => arch,
        (None, Some(name)) => name.parse()?,
        (None, None) => {
            return Err(Error::Usage(format!(
                "{} does not say its architecture: name it with --arch",
                file.display()
            )));
        }
    };
    let shortcut = args.shortcut.or(match from_file("shortcut").as_deref() {
        Some("a") => Some(Shortcut::A),
        _ => None,
    });
    check_method(args, weights::method_of(&tensors), &file)?;
    let plain = weights::discretize(tensors)
        .map_err(|problem| Error::checkpoint(&file, problem, "Give a file with all latents of each layer"))?;
    let dataset = args.dataset.or(own.as_ref().map(|s| s.dataset)).unwrap_or_default();
    let data = args.data.clone().or(own.as_ref().and_then(|s| s.data.clone()));
    let seed = args.seed.or(own.as_ref().map(|s| s.seed)).unwrap_or(0);
    let source = Source::open(dataset, data.as_deref(), seed, Need::Test)?;
    let test = data::first(&source.test, args.limit);
    let target = Target::choose(args.adapter.as_deref())?;
    let network = (arch, shortcut.unwrap_or_default());
    let batch = args.batch_size.min(test.len());
    let mut evaluator = Evaluator::load(network, &source, (&file, &plain), &target, batch)?;
    let score = evaluate::score(&evaluator.verdicts(test)?);
    if args.json {
        print_json(&score)?;
    } else {
        print(&format!("{} on {}", file.display(), target.info()))?;
        print(&format!(
            "top-1 {:.2} %  top-5 {:.2} %  loss {:.5}  on {} images",
            score.top1, score.top5, score.loss, score.images
        ))?;
    }
    Ok(Outcome::Done)
}

/// Fails where the flags say another method than the file holds.
fn check_method(args: &Args, found: Method, file: &std::path::Path) -> Result<()> {
    let wrong = |wanted: String| {
        Err(Error::checkpoint(
            file,
            format!("holds {found}, not {wanted}"),
            "Leave --method and --bits out: the file tells them",
        ))
    };
    match (args.method, args.bits) {
        (Some(name), _) if name != found.name => wrong(format!("{name:?}").to_lowercase()),
        (_, Some(bits)) if found.name == MethodName::S3 && bits != found.bits => wrong(format!("{bits}-bit")),
        _ => Ok(()),
    }
}
