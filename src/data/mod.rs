//! Images with labels: where they come from, and how batches of them are made.

pub mod cifar;
pub mod loader;
pub mod pictures;
pub mod synthetic;

use crate::error::Result;
use std::path::Path;
use std::sync::Arc;

pub use loader::{Batch, Loader};

/// Images of one size with labels.
pub trait Dataset: Send + Sync {
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes image `index` to `pixels`, planes R, G, B of rows, one byte a value, and returns its label.
    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32>;
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
}

impl DatasetName {
    /// What the dataset's networks are fed.
    pub fn input(self) -> Input {
        match self {
            DatasetName::Synthetic => synthetic::input(),
            DatasetName::Cifar10 => cifar::input(),
        }
    }
}

/// What a network is fed: images of one size, how their bytes are normalized, and what it tells apart.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Input {
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
    TrainAndTest,
    Test,
}

/// A dataset's parts and what is known of it.
#[derive(Clone)]
pub struct Source {
    pub name: DatasetName,
    pub input: Input,
    /// Empty where only the test images were asked for.
    pub train: Arc<dyn Dataset>,
    pub test: Arc<dyn Dataset>,
    /// What a user should know of the files, such as fewer images than usual.
    pub notes: Vec<String>,
}

impl Source {
    /// Opens a dataset. `data` is where its files are; `seed` is the synthetic images'.
    ///
    /// # Errors
    /// [`crate::Error::Data`] for missing, truncated or foreign files.
    pub fn open(name: DatasetName, data: Option<&Path>, seed: u64, need: Need) -> Result<Source> {
        match name {
            DatasetName::Synthetic => Ok(synthetic::open(seed, need)),
            DatasetName::Cifar10 => cifar::open(data, need),
        }
    }
}

/// Images held in memory.
pub struct InMemory {
    /// Bytes of all images, one after the other.
    pub pixels: Vec<u8>,
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

/// The first images of a dataset.
pub struct First {
    pub dataset: Arc<dyn Dataset>,
    pub len: usize,
}

impl Dataset for First {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32> {
        self.dataset.read(index, pixels)
    }
}

/// The first `limit` images of `dataset`, or all of them.
pub fn first(dataset: &Arc<dyn Dataset>, limit: Option<usize>) -> Arc<dyn Dataset> {
    match limit {
        Some(len) if len < dataset.len() => Arc::new(First { dataset: dataset.clone(), len }),
        _ => dataset.clone(),
    }
}
