//! Images with labels: where they come from, and how batches of them are made.

pub mod cifar;
pub mod crop;
pub mod decode;
pub mod folder;
pub mod loader;
pub mod pack;
pub mod pictures;
pub mod synthetic;

use crate::error::{Error, Result};
use crate::rng::Draws;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

pub use loader::{Batch, Loader, Reading, Variation};

/// Images of one size with labels: what anybody trains on, by [`Setup::of`](crate::train::Setup::of). Images are read by several
/// threads at once.
pub trait Dataset: Send + Sync {
    /// How many images there are. It does not change.
    fn len(&self) -> usize;

    /// Whether it has no image.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes image `index`, below [`Dataset::len`], to all of `pixels`, and returns its label. `pixels` is (3, H, W) bytes, of
    /// [`Input::image`]'s H and W: the plane of R, then G, then B, each of rows from the top, whatever stood there before. The label is
    /// a number below that of [`Input::classes`].
    ///
    /// # Errors
    /// [`Error::Image`] where this image is damaged, and others may be whole: the next one takes its place. Any other error ends the
    /// run.
    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32>;

    /// Whether [`Dataset::read_varied`] varies training images. Where it does not, and the settings do not forbid it, the engine
    /// crops them at random, after 4 pixels of padding, and flips half of them.
    fn varies(&self) -> bool {
        false
    }

    /// The label of image `index`, where it is known without reading the image.
    fn label(&self, _index: usize) -> Option<u32> {
        None
    }

    /// As [`Dataset::read`], varied by random numbers where the dataset varies its images: by these alone, so that a run can be
    /// repeated. Training reads with it wherever images are to be varied.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    fn read_varied(&self, index: usize, _draws: Draws, pixels: &mut [u8]) -> Result<u32> {
        self.read(index, pixels)
    }
}

/// The sides of the images that networks see.
pub const SIDES: std::ops::RangeInclusive<usize> = 1..=4096;

/// That `side`, of what `name` calls so, is one of [`SIDES`].
///
/// # Errors
/// [`Error::Setting`].
pub fn check_side(name: &str, side: usize) -> Result<()> {
    match SIDES.contains(&side) {
        true => Ok(()),
        false => Err(Error::setting(name, side, format!("{} to {}", SIDES.start(), SIDES.end()))),
    }
}

/// Which dataset.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum DatasetName {
    /// Ten classes of drawn 32x32 images; needs no files.
    #[default]
    Synthetic,
    /// CIFAR-10's binary version; needs --data.
    Cifar10,
    /// Folders of images in ImageNet's layout, or a file that was packed of them; needs --data.
    #[serde(rename = "image-folder")]
    ImageFolder,
}

impl DatasetName {
    /// What the dataset's networks are fed, where its name alone says it.
    pub fn input(self) -> Option<Input> {
        match self {
            DatasetName::Synthetic => Some(synthetic::input()),
            DatasetName::Cifar10 => Some(cifar::input()),
            DatasetName::ImageFolder => None,
        }
    }

    /// Refuses files that a user `gave` for images that have none.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check_data(self, gave: Option<&Path>) -> Result<()> {
        match gave.filter(|_| self == DatasetName::Synthetic) {
            None => Ok(()),
            Some(data) => Err(Error::Usage(format!(
                "--data is {}, but the dataset is synthetic, which has no files: say what they are with --dataset cifar10 or \
                 --dataset image-folder",
                data.display()
            ))),
        }
    }

    /// The dataset whose name alone says `input`.
    pub fn known(input: &Input) -> Option<DatasetName> {
        let all = <DatasetName as clap::ValueEnum>::value_variants();
        all.iter().find(|name| name.input().as_ref() == Some(input)).copied()
    }
}

impl std::fmt::Display for DatasetName {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            DatasetName::Synthetic => "synthetic",
            DatasetName::Cifar10 => "cifar10",
            DatasetName::ImageFolder => "image-folder",
        })
    }
}

/// What a network is fed: images of one size, how their bytes are normalized, and what it tells apart.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Input {
    /// The names of the classes; a label is a place in this list.
    pub classes: Vec<String>,
    /// Height and width of an image.
    pub image: [usize; 2],
    /// Of the channels, in 0..1: a network sees (byte / 255 - mean) / std.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

impl Input {
    /// Bytes of an image.
    pub fn image_bytes(&self) -> usize {
        3 * self.image[0] * self.image[1]
    }
}

/// Which images of a dataset a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Both.
    TrainAndTest,
    /// Those that networks are evaluated on alone.
    Test,
}

/// What a command wants of a dataset.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Where the dataset's files are.
    pub data: Option<&'a Path>,
    /// Which images.
    pub need: Need,
    /// The synthetic images'.
    pub seed: u64,
    /// Height and width of an image folder's images, where they are not the usual ones.
    pub image_size: Option<usize>,
    /// A network's own classes, in its order: an image folder's images get these numbers.
    pub classes: Option<&'a [String]>,
}

impl Default for Opening<'_> {
    fn default() -> Self {
        Opening { data: None, need: Need::Test, seed: 0, image_size: None, classes: None }
    }
}

/// A dataset's parts and what is known of it.
#[derive(Clone)]
pub struct Source {
    /// What checkpoints call it: of images of your own the nearest, such as [`DatasetName::ImageFolder`].
    pub name: DatasetName,
    /// What its networks are fed.
    pub input: Input,
    /// Empty where only the test images were asked for.
    pub train: Arc<dyn Dataset>,
    /// What networks are evaluated on.
    pub test: Arc<dyn Dataset>,
    /// What a user should know of the files, such as fewer images than usual.
    pub notes: Vec<String>,
}

impl Source {
    /// Opens a dataset. `data` is where its files are; `seed` is the synthetic images'.
    ///
    /// # Errors
    /// As [`Source::open_as`].
    pub fn open(name: DatasetName, data: Option<&Path>, seed: u64, need: Need) -> Result<Source> {
        Source::open_as(name, &Opening { data, seed, need, ..Opening::default() })
    }

    /// Opens a dataset as `opening` wants it.
    ///
    /// # Errors
    /// [`Error::Data`] for missing, truncated or foreign files; [`Error::Usage`] for a size of images that are of one size.
    pub fn open_as(name: DatasetName, opening: &Opening) -> Result<Source> {
        match name {
            DatasetName::ImageFolder => folder::open(opening),
            _ if opening.image_size.is_some() => {
                let line =
                    format!("--image-size is for --dataset image-folder: the images of {name} have one size");
                Err(Error::Usage(line))
            }
            DatasetName::Synthetic => Ok(synthetic::open(opening.seed, opening.need)),
            DatasetName::Cifar10 => cifar::open(opening.data, opening.need),
        }
    }
}

/// Images held in memory.
pub struct InMemory {
    /// Bytes of all images, one after the other.
    pub pixels: Vec<u8>,
    /// One an image.
    pub labels: Vec<u8>,
}

impl Dataset for InMemory {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32> {
        pixels.copy_from_slice(&self.pixels[index * pixels.len()..][..pixels.len()]);
        Ok(self.labels[index].into())
    }
}

/// A dataset whose labels are those of `classes` classes: kernels take any other label for that of no image.
pub(crate) struct Labelled {
    pub dataset: Arc<dyn Dataset>,
    pub classes: usize,
}

impl Labelled {
    fn checked(&self, index: usize, label: u32) -> Result<u32> {
        match (label as usize) < self.classes {
            true => Ok(label),
            false => {
                let problem =
                    format!("image {index} has label {label}, but there are {} classes", self.classes);
                let remedy = "Number the classes from 0, and name each of them in the dataset's Input";
                Err(Error::data("the dataset", problem, remedy))
            }
        }
    }
}

impl Dataset for Labelled {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32> {
        self.checked(index, self.dataset.read(index, pixels)?)
    }

    fn varies(&self) -> bool {
        self.dataset.varies()
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.dataset.label(index)
    }

    fn read_varied(&self, index: usize, draws: Draws, pixels: &mut [u8]) -> Result<u32> {
        self.checked(index, self.dataset.read_varied(index, draws, pixels)?)
    }
}

/// The first `len` images of a dataset, or all where it has no more.
pub struct First {
    pub dataset: Arc<dyn Dataset>,
    pub len: usize,
}

impl Dataset for First {
    fn len(&self) -> usize {
        self.len.min(self.dataset.len())
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32> {
        self.dataset.read(index, pixels)
    }

    fn varies(&self) -> bool {
        self.dataset.varies()
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.dataset.label(index)
    }

    fn read_varied(&self, index: usize, draws: Draws, pixels: &mut [u8]) -> Result<u32> {
        self.dataset.read_varied(index, draws, pixels)
    }
}

/// The first `limit` images of `dataset`, or all of them.
pub fn first(dataset: &Arc<dyn Dataset>, limit: Option<usize>) -> Arc<dyn Dataset> {
    match limit {
        Some(len) if len < dataset.len() => Arc::new(First { dataset: dataset.clone(), len }),
        _ => dataset.clone(),
    }
}

/// What to say where `part`, the first `kind` images of `dataset`, has none of some of its `classes`: folders are in the order of
/// their classes.
pub fn left_out(dataset: &dyn Dataset, part: &dyn Dataset, kind: &str, classes: usize) -> Option<String> {
    let len = part.len();
    if len == dataset.len() {
        return None;
    }
    let labels: Option<HashSet<u32>> = (0..len).map(|index| part.label(index)).collect();
    let found = labels?.len();
    (found < classes).then(|| format!("the first {len} {kind} images are of {found} of {classes} classes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_first_images_than_images() {
        let dataset: Arc<dyn Dataset> = Arc::new(InMemory { pixels: vec![1, 2, 3], labels: vec![0, 1, 2] });
        let len = |len| First { dataset: dataset.clone(), len }.len();
        assert_eq!([len(0), len(2), len(3), len(4)], [0, 2, 3, 3]);
    }
}
