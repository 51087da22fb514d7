//! Settings as they are given: flags and configuration files.

use super::schedule::Schedule;
use super::settings::{Augment, Settings};
use crate::data::DatasetName;
use crate::error::{Error, Result};
use crate::method::{InitName, Method, MethodName};
use crate::model::{Arch, Shortcut};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use toml::Table;

/// Published recipes: batch 256, 200 epochs, cosine, weight decay 1e-4, alpha 1e-5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// The paper's text: lr 1e-3, init dense.
    Paper,
    /// The authors' first demo code: lr 0.1, init normal.
    Demo,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $(#[arg($($arg:tt)*)])? $name:ident: $ty:ty,)*) => {
        /// Settings as flags and as a configuration file give them: what is absent is decided elsewhere.
        #[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        #[group(skip)]
        pub struct Flags {
            $(
                $(#[doc = $doc])*
                #[arg(long, allow_negative_numbers = true, $($($arg)*)?)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$ty>,
            )*
        }

        impl Flags {
            /// The settings' names, with underscores, in the order of the help.
            pub const FIELDS: &[&str] = &[$(stringify!($name)),*];

            /// These settings, and those of `other` where these are silent.
            pub fn or(self, other: Flags) -> Flags {
                Flags { $($name: self.$name.or(other.$name)),* }
            }
        }

        /// What a setting is.
        macro_rules! about {
            $(($name) => { concat!($($doc),*) };)*
        }
        pub(super) use about;
    };
}

settings! {
    /// Dataset to train on
    dataset: DatasetName,
    /// Directory (or archive, or packed file) of the dataset's files
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// Height and width of an image folder's images [default: 224, or what a packed file was made for]
    #[arg(value_name = "N")]
    image_size: usize,
    /// End at an image that cannot be read, in place of taking the next one
    #[arg(value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    strict: bool,
    /// resnet8, 14, 20, 26, 32, 44, 56, 110 (CIFAR) or resnet18, 34, 50, 101, 152 (ImageNet)
    #[arg(short = 'a', value_name = "NAME")]
    arch: Arch,
    /// Where the shape changes: b, a 1x1 convolution, or a, zero channels
    shortcut: Shortcut,
    /// How the weights of the residual blocks are represented; s3 is sign-sparse-shift, fp32 full precision
    method: MethodName,
    /// Bits of such a weight: with s3 2 (0, ±1), 3 (0, ±1, ±2, ±4), 4 or 5 [default: 3; ternary 2]
    #[arg(value_name = "N")]
    bits: u32,
    /// A published set of hyperparameters; each sets batch 256, 200 epochs, cosine, wd 1e-4 and alpha 1e-5, too
    recipe: Recipe,
    /// Passes over the training images
    #[arg(value_name = "N")]
    epochs: u64,
    /// End after this many steps, with an evaluation and a checkpoint
    #[arg(value_name = "N")]
    max_steps: u64,
    /// Images of a batch
    #[arg(short = 'b', value_name = "N")]
    batch_size: usize,
    /// Cut the batch into this many micro-batches, to save memory
    #[arg(value_name = "N")]
    accumulate: usize,
    /// Initial learning rate
    #[arg(value_name = "F")]
    lr: f32,
    /// How the learning rate moves
    schedule: Schedule,
    /// SGD momentum
    #[arg(value_name = "F")]
    momentum: f32,
    /// Weight decay, on every parameter
    #[arg(value_name = "F", alias = "weight-decay")]
    wd: f32,
    /// Strength of the dense-weight regularizer
    #[arg(value_name = "F")]
    alpha: f32,
    /// Train towards labels of which this share is spread over all classes [default: 0]
    #[arg(value_name = "F")]
    label_smoothing: f32,
    /// How the latents of s3 and denseshift begin: dense, every weight ±1, or normal
    init: InitName,
    /// Multiply the standard deviation of the latents' initial values [default: 1]
    #[arg(value_name = "F")]
    init_scale: f32,
    /// Begin from these weights: a file, or a run's best
    #[arg(value_name = "RUN|FILE")]
    init_from: PathBuf,
    /// Of the initial weights, the order of images, their augmentation, and the synthetic images
    #[arg(value_name = "N")]
    seed: u64,
    /// Random crop and flip, or none
    augment: Augment,
    /// Shuffle the training images each epoch
    #[arg(value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    shuffle: bool,
    /// After each epoch, before the evaluation, renew batch norms' running statistics by N training batches [default: 0]
    #[arg(value_name = "N")]
    bn_batches: usize,
    /// Use the first N training images
    #[arg(value_name = "N")]
    limit: usize,
    /// Use the first N test images
    #[arg(value_name = "N")]
    limit_val: usize,
    /// Steps between logged steps
    #[arg(value_name = "N")]
    log_every: u64,
    /// Steps between checkpoints within an epoch
    #[arg(value_name = "N")]
    checkpoint_every: u64,
}

impl Flags {
    /// Reads a configuration file: TOML with the flags' names, or a run's `config.toml`, of which the settings count.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Usage`] for what is no such file.
    pub fn read(path: &Path) -> Result<Flags> {
        #[derive(Deserialize)]
        struct OfRun {
            settings: Flags,
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let of_run = toml::from_str::<Table>(&text).is_ok_and(|table| table.contains_key("settings"));
        match of_run {
            true => toml::from_str::<OfRun>(&text).map(|run| run.settings),
            false => toml::from_str(&text),
        }
        .map_err(|e| Error::Usage(format!("{}: {}", path.display(), e.to_string().trim_end())))
    }

    fn recipe(recipe: Recipe) -> Flags {
        let (lr, init) = match recipe {
            Recipe::Paper => (1e-3, InitName::Dense),
            Recipe::Demo => (0.1, InitName::Normal),
        };
        Flags {
            batch_size: Some(256),
            epochs: Some(200),
            schedule: Some(Schedule::Cosine),
            wd: Some(1e-4),
            alpha: Some(1e-5),
            lr: Some(lr),
            init: Some(init),
            ..Flags::default()
        }
    }

    /// Fills in the recipe and the defaults, and checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] names the flag, the value and what it must be.
    pub fn resolve(self) -> Result<Settings> {
        let flags = match self.recipe {
            Some(recipe) => self.or(Flags::recipe(recipe)),
            None => self,
        };
        let settings = Settings {
            dataset: flags.dataset.unwrap_or_default(),
            data: flags.data,
            image_size: flags.image_size,
            strict: flags.strict.unwrap_or(false),
            arch: flags.arch.map_or_else(|| "resnet20".parse(), Ok)?,
            shortcut: flags.shortcut.unwrap_or_default(),
            method: flags.method.unwrap_or_default(),
            bits: flags.bits.unwrap_or_else(|| Method::default_bits(flags.method.unwrap_or_default())),
            epochs: flags.epochs.unwrap_or(200),
            max_steps: flags.max_steps,
            batch_size: flags.batch_size.unwrap_or(128),
            accumulate: flags.accumulate.unwrap_or(1),
            lr: flags.lr.unwrap_or(DEFAULT_LR),
            schedule: flags.schedule.unwrap_or_default(),
            momentum: flags.momentum.unwrap_or(0.9),
            wd: flags.wd.unwrap_or(1e-4),
            alpha: flags.alpha.unwrap_or(1e-5),
            label_smoothing: flags.label_smoothing.unwrap_or(0.0),
            init: flags.init.unwrap_or_default(),
            init_scale: flags.init_scale.unwrap_or(1.0),
            init_from: flags.init_from,
            seed: flags.seed.unwrap_or(0),
            augment: flags.augment.unwrap_or_default(),
            shuffle: flags.shuffle.unwrap_or(true),
            bn_batches: flags.bn_batches.unwrap_or(0),
            limit: flags.limit,
            limit_val: flags.limit_val,
            log_every: flags.log_every.unwrap_or(10),
            checkpoint_every: flags.checkpoint_every,
        };
        settings.check()?;
        Ok(settings)
    }
}

/// What measured best for S³ on CIFAR-10 (its gates must cross zero, so it wants larger steps than fp32).
const DEFAULT_LR: f32 = 0.4;
