//! `shiftnet export`

use super::eval::Which;
use super::progress::eprintln_lossy;
use super::{Outcome, check_output, print};
use crate::data::{DatasetName, Input, Need, Opening, Source};
use crate::deploy::{Model, calibrate, onnx, packed};
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::files;
use crate::model::{Arch, Shortcut, weights};
use crate::train::{Stated, Trained};
use std::path::PathBuf;

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Discrete weights at their bits, batch norms folded: what infer and eval run
    Packed,
    /// The folded graph for ONNX Runtime and others: input images (N, 3, H, W), output logits
    Onnx,
    /// Plain weights under torchvision's names, which PyTorch's ResNets load
    Safetensors,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's directory, or a safetensors or PyTorch file
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,

    /// What to write
    #[arg(long)]
    format: Format,

    /// Where to write it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Which of a run's checkpoints
    #[arg(long, default_value = "best")]
    checkpoint: Which,

    /// Architecture [default: the run's or the checkpoint's]
    #[arg(short = 'a', long, value_name = "NAME")]
    arch: Option<Arch>,

    /// Shortcut [default: the run's or the checkpoint's, else b]
    #[arg(long)]
    shortcut: Option<Shortcut>,

    /// Dataset whose classes and images the network knows [default: the run's or the checkpoint's]
    #[arg(long)]
    dataset: Option<DatasetName>,

    /// Height and width of an image folder's images, where the checkpoint does not say it [default: 224]
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,

    /// Directory (or archive, or packed file) of the dataset's files: training images, of which the first 512 give integers their ranges
    /// [default: the run's]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// A part of an adapter's name, its index, or host: what runs those images
    #[arg(long, value_name = "NAME|INDEX|host")]
    adapter: Option<String>,
}

pub fn run(args: &Args) -> Result<Outcome> {
    check_output(&args.out, &[&args.path])?;
    let last = args.checkpoint == Which::Last;
    let stated = Stated { arch: args.arch, shortcut: args.shortcut, last };
    let trained = Trained::read(&args.path, stated)?;
    let bytes = match args.format {
        Format::Safetensors => {
            trained.check()?;
            weights::encode(&trained.tensors)?
        }
        Format::Onnx => onnx::encode(&trained.fold(input(args, &trained, dataset(args, &trained)?)?)?)?,
        Format::Packed => {
            let dataset = dataset(args, &trained)?;
            let mut model = trained.fold(input(args, &trained, dataset)?)?;
            // Before minutes of work, not after them.
            packed::encode(&model)?;
            calibrated(args, &trained, dataset, &mut model)?;
            packed::encode(&model)?
        }
    };
    files::write(&args.out, &bytes)?;
    let parameters = trained.tensors.iter().filter(|(name, _)| !name.contains(".running_"));
    let parameters: usize = parameters.map(|(_, (_, values))| values.len()).sum();
    print(&format!(
        "wrote {}: {} {}, {parameters} parameters in {} bytes",
        args.out.display(),
        trained.arch,
        trained.method,
        bytes.len(),
    ))?;
    Ok(Outcome::Done)
}

fn dataset(args: &Args, trained: &Trained) -> Result<DatasetName> {
    let dataset = args.dataset.or(trained.dataset).ok_or_else(|| {
        Error::Usage(format!(
            "{} does not say what its classes are: name the dataset with --dataset",
            trained.file.display()
        ))
    })?;
    dataset.check_data(args.data.as_deref())?;
    Ok(dataset)
}

/// The images and classes of `dataset`: by its name or the checkpoint, else from its files.
fn input(args: &Args, trained: &Trained, dataset: DatasetName) -> Result<Input> {
    if let Some(input) = trained.input(dataset) {
        if let Some(side) = args.image_size.filter(|side| [*side; 2] != input.image) {
            let expected = format!("{}, as the network was trained, or left out", input.image[0]);
            return Err(Error::setting("--image-size", side, expected));
        }
        return Ok(input);
    }
    let own = trained.settings.as_ref().and_then(|settings| settings.data.as_deref());
    let opening =
        Opening { data: args.data.as_deref().or(own), image_size: args.image_size, ..Opening::default() };
    Ok(Source::open_as(dataset, &opening)?.input)
}

/// Gives integers their ranges, where there are images to measure them on.
fn calibrated(args: &Args, trained: &Trained, dataset: DatasetName, model: &mut Model) -> Result<()> {
    let own = trained.settings.as_ref().filter(|settings| settings.dataset == dataset);
    let data = args.data.clone().or(own.and_then(|settings| settings.data.clone()));
    let seed = own.map_or(0, |settings| settings.seed);
    let classes = model.input.classes.clone();
    let folder = dataset.input().is_none();
    let opening = Opening {
        data: data.as_deref(),
        need: Need::TrainAndTest,
        seed,
        image_size: folder.then_some(model.input.image[0]),
        classes: folder.then_some(&classes),
    };
    let source = match Source::open_as(dataset, &opening) {
        Ok(source) => source,
        Err(error) if args.data.is_some() => return Err(error),
        Err(error) => {
            eprintln_lossy(&format!(
                "warning: no images to measure ranges of activations on ({error}). The file runs with --arith float only."
            ));
            return Ok(());
        }
    };
    calibrate::calibrate(model, source.train, &Target::choose(args.adapter.as_deref())?)
}
