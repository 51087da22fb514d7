//! `shiftnet eval`

use super::progress::eprintln_lossy;
use super::{Outcome, arith, check_output, print, print_json};
use crate::data::{self, Dataset, DatasetName, Input, Need, Opening, Source};
use crate::deploy::{Arith, Session, calibrate, packed};
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::files;
use crate::method::{Method, MethodName};
use crate::model::{Arch, Shortcut};
use crate::train::evaluate::{self, Evaluator, Score, Verdict, Verdicts};
use crate::train::{Stated, Trained};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which of a run's checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    #[default]
    Best,
    Last,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's directory, a safetensors or PyTorch file, or a packed model
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,

    /// Dataset whose test images to use [default: the run's, the checkpoint's or the packed model's, else synthetic]
    #[arg(long)]
    dataset: Option<DatasetName>,

    /// Directory (or archive, or packed file) of the dataset's files [default: the run's]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Height and width of an image folder's images [default: what the network was trained on, else 224]
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,

    /// Refuse a dataset with an image that cannot be read, in place of taking the next one
    #[arg(long)]
    strict: bool,

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

    #[command(flatten)]
    arith: arith::Args,

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

    /// Write what each image was taken for to this file, a line of names, then one an image: its number, the class that it was taken for, the loss, the class that it is of
    #[arg(long, value_name = "OUT.csv")]
    predictions: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<Outcome> {
    let sizes = [("--batch-size", args.batch_size), ("--limit", args.limit.unwrap_or(1))];
    for (flag, value) in sizes.into_iter().chain([("--image-size", args.image_size.unwrap_or(1))]) {
        if value == 0 {
            return Err(Error::setting(flag, value, "at least 1"));
        }
    }
    let inputs: Vec<&Path> =
        [Some(&args.path), args.data.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    args.predictions.as_deref().map_or(Ok(()), |out| check_output(out, &inputs))?;
    let arith = args.arith.arith()?;
    if packed::is_file(&args.path)? {
        return run_packed(args, arith);
    }
    let last = args.checkpoint == Which::Last;
    let trained = Trained::read(&args.path, Stated { arch: args.arch, shortcut: args.shortcut, last })?;
    check_method(args, trained.method, &trained.file)?;
    let own = trained.settings.as_ref();
    let dataset = args.dataset.or(trained.dataset).unwrap_or_default();
    dataset.check_data(args.data.as_deref())?;
    // Another dataset's files are elsewhere.
    let own = own.filter(|settings| settings.dataset == dataset);
    let data = args.data.clone().or(own.and_then(|s| s.data.clone()));
    let seed = args.seed.or(own.map(|s| s.seed)).unwrap_or(0);
    // Integers get their ranges from training images.
    let need = if arith.bits().is_some() { Need::TrainAndTest } else { Need::Test };
    let input = trained.input(dataset);
    let source =
        Source::open_as(dataset, &opening(args, dataset, input.as_ref(), (data.as_deref(), seed, need)))?;
    check_classes(&trained.file, trained.dataset.and_then(|own| trained.input(own)).as_ref(), &source.input)?;
    let test = limited(args, &source);
    let target = Target::choose(args.adapter.as_deref())?;
    let batch = args.batch_size.min(test.len());
    let verdicts = match args.arith.arith {
        None => {
            let network = (trained.arch, trained.shortcut);
            let weights = (trained.file.as_path(), &trained.tensors);
            Evaluator::load(network, &source, weights, &target, batch)?.all_verdicts(test, args.strict)?
        }
        Some(_) => {
            let mut model = trained.fold(source.input.clone())?;
            arith.check(&model)?;
            if arith.bits().is_some() {
                calibrate::calibrate(&mut model, source.train.clone(), &target)?;
            }
            let mut session = Session::new(&model, arith, batch, &target)?;
            evaluate::verdicts_of_session(&mut session, test, args.strict)?
        }
    };
    tell(args, &trained.file, &target, dataset, &verdicts)
}

/// The test images that are asked for.
fn limited(args: &Args, source: &Source) -> Arc<dyn Dataset> {
    let test = data::first(&source.test, args.limit);
    let note = data::left_out(source.test.as_ref(), test.as_ref(), "test", source.input.classes.len());
    note.into_iter().for_each(|note| eprintln_lossy(&format!("note: {note}")));
    test
}

/// Fails where a network that tells the classes of `own` apart would be asked for those of `other`.
fn check_classes(file: &Path, own: Option<&Input>, other: &Input) -> Result<()> {
    let Some(own) = own.filter(|own| own.classes != other.classes) else { return Ok(()) };
    let foreign = other.classes.iter().find(|class| !own.classes.contains(class));
    let problem = match foreign {
        Some(class) => format!("knows {} classes, and {class} is none of them", own.classes.len()),
        None => format!("knows {} classes, not these {}", own.classes.len(), other.classes.len()),
    };
    Err(Error::checkpoint(file, problem, "Choose the dataset that it was trained on with --dataset"))
}

/// How to open `dataset` for a network that is fed `input`, where that is known.
fn opening<'a>(
    args: &Args,
    dataset: DatasetName,
    input: Option<&'a Input>,
    (data, seed, need): (Option<&'a Path>, u64, Need),
) -> Opening<'a> {
    // Other datasets have one size and one set of classes.
    let input = input.filter(|_| dataset == DatasetName::ImageFolder);
    let image_size = args.image_size.or(input.map(|input| input.image[0]));
    Opening { data, need, seed, image_size, classes: input.map(|input| input.classes.as_slice()) }
}

fn run_packed(args: &Args, arith: Arith) -> Result<Outcome> {
    let model = packed::read(&args.path)?;
    check_method(args, model.method, &args.path)?;
    let other = args.arch.is_some_and(|arch| arch != model.arch)
        || args.shortcut.is_some_and(|shortcut| shortcut != model.shortcut);
    if other {
        let problem = format!("holds {} with shortcut {:?}", model.arch, model.shortcut);
        return Err(Error::checkpoint(
            &args.path,
            problem,
            "Leave --arch and --shortcut out: the file tells them",
        ));
    }
    // What has the classes of no other dataset was trained on an image folder, where files are given.
    let folder = args.data.is_some().then_some(DatasetName::ImageFolder);
    let own = DatasetName::known(&model.input).or(folder);
    let dataset = args.dataset.or(own).ok_or_else(|| {
        Error::Usage(format!(
            "{} does not say what it was trained on: name it with --dataset (and --data)",
            args.path.display()
        ))
    })?;
    let opening = opening(
        args,
        dataset,
        Some(&model.input),
        (args.data.as_deref(), args.seed.unwrap_or(0), Need::Test),
    );
    let source = Source::open_as(dataset, &opening)?;
    if source.input.classes != model.input.classes || source.input.image != model.input.image {
        let [h, w] = model.input.image;
        let (classes, first) = (model.input.classes.len(), &model.input.classes[0]);
        let problem = format!("knows {classes} classes of {h} x {w} images, the first of which is {first}");
        return Err(Error::checkpoint(
            &args.path,
            problem,
            "Choose the dataset that it was trained on with --dataset",
        ));
    }
    let test = limited(args, &source);
    let target = Target::choose(args.adapter.as_deref())?;
    let mut session = Session::new(&model, arith, args.batch_size.min(test.len()), &target)?;
    let verdicts = evaluate::verdicts_of_session(&mut session, test, args.strict)?;
    tell(args, &args.path, &target, dataset, &verdicts)
}

/// The score with what it is of.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    score: Score,
    dataset: DatasetName,
}

fn tell(
    args: &Args,
    file: &Path,
    target: &Target,
    dataset: DatasetName,
    verdicts: &Verdicts,
) -> Result<Outcome> {
    let Verdicts { images: verdicts, unreadable } = verdicts;
    unreadable.iter().for_each(|problem| eprintln_lossy(&format!("warning: {problem}")));
    if !unreadable.is_empty() {
        let line = "images could not be read; in the place of each the next one was evaluated";
        eprintln_lossy(&format!("warning: {} {line}", unreadable.len()));
    }
    let score = evaluate::score(verdicts);
    if args.json {
        print_json(&Line { score, dataset })?;
    } else {
        print(&format!("{} on {}", file.display(), target.info()))?;
        print(&format!(
            "top-1 {:.2} %  top-5 {:.2} %  loss {:.5}  on {} images of {dataset}",
            score.top1, score.top5, score.loss, score.images
        ))?;
    }
    if let Some(path) = &args.predictions {
        let line = |(i, v): (usize, &Verdict)| format!("{i},{},{},{}\n", v.class, v.loss, v.label);
        let lines: String = verdicts.iter().enumerate().map(line).collect();
        files::write(path, format!("image,class,loss,label\n{lines}").as_bytes())?;
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
        (Some(name), _) if name != found.name => wrong(name.to_string()),
        (_, Some(bits)) if !found.is_discrete() || bits != found.bits => wrong(format!("{bits}-bit")),
        _ => Ok(()),
    }
}
