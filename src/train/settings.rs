//! A run's settings: from the flag, else the configuration file, else the recipe, else the default.

use super::schedule::Schedule;
use crate::data::{DatasetName, LONGEST_SIDE, Need, Opening, Source};
use crate::error::{Error, Result};
use crate::kernels::Hyper;
use crate::method::{InitName, Method, MethodName, inq};
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

/// How the training images are varied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augment {
    /// Crop after 4 pixels of padding, and horizontal flip; of image folders, RandomResizedCrop and flip.
    #[default]
    Standard,
    None,
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

/// What may change in a run that goes on: how far, how often, and where the data is.
const MAY_CHANGE: [&str; 6] = ["epochs", "max-steps", "log-every", "checkpoint-every", "data", "strict"];

/// What measured best for S³ on CIFAR-10 (its gates must cross zero, so it wants larger steps than fp32).
const DEFAULT_LR: f32 = 0.4;

/// All settings of a run, resolved. This is what `config.toml` and a checkpoint hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    #[doc = about!(dataset)]
    pub dataset: DatasetName,
    #[doc = about!(data)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    #[doc = about!(image_size)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    #[doc = about!(strict)]
    #[serde(default)]
    pub strict: bool,
    #[doc = about!(arch)]
    pub arch: Arch,
    #[doc = about!(shortcut)]
    pub shortcut: Shortcut,
    #[doc = about!(method)]
    pub method: MethodName,
    #[doc = about!(bits)]
    pub bits: u32,
    #[doc = about!(epochs)]
    pub epochs: u64,
    #[doc = about!(max_steps)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    #[doc = about!(batch_size)]
    pub batch_size: usize,
    #[doc = about!(accumulate)]
    pub accumulate: usize,
    #[doc = about!(lr)]
    pub lr: f32,
    #[doc = about!(schedule)]
    pub schedule: Schedule,
    #[doc = about!(momentum)]
    pub momentum: f32,
    #[doc = about!(wd)]
    pub wd: f32,
    #[doc = about!(alpha)]
    pub alpha: f32,
    #[doc = about!(label_smoothing)]
    #[serde(default)]
    pub label_smoothing: f32,
    #[doc = about!(init)]
    pub init: InitName,
    #[doc = about!(init_scale)]
    #[serde(default = "one")]
    pub init_scale: f32,
    #[doc = about!(init_from)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_from: Option<PathBuf>,
    #[doc = about!(seed)]
    pub seed: u64,
    #[doc = about!(augment)]
    pub augment: Augment,
    #[doc = about!(shuffle)]
    pub shuffle: bool,
    #[doc = about!(bn_batches)]
    #[serde(default)]
    pub bn_batches: usize,
    #[doc = about!(limit)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    #[doc = about!(limit_val)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_val: Option<usize>,
    #[doc = about!(log_every)]
    pub log_every: u64,
    #[doc = about!(checkpoint_every)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<u64>,
}

/// Checks how many images a batch has.
pub fn check_batch(batch: usize) -> Result<()> {
    const MOST: usize = 1 << 20;
    match batch {
        0 => Err(Error::setting("--batch-size", batch, "at least 1")),
        1..=MOST => Ok(()),
        _ => Err(Error::setting("--batch-size", batch, format!("at most {MOST}"))),
    }
}

/// Checks a path that a run's files are to hold.
fn check_path(flag: &str, path: Option<&Path>) -> Result<()> {
    match path.filter(|path| path.to_str().is_none()) {
        None => Ok(()),
        Some(path) => {
            Err(Error::setting(flag, path.display(), "a path in UTF-8, as the run's files hold it"))
        }
    }
}

fn one() -> f32 {
    1.0
}

fn is_one(value: &f32) -> bool {
    *value == 1.0
}

impl Settings {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] names the flag, the value and what it must be.
    pub fn check(&self) -> Result<()> {
        self.check_method()?;
        let at_least_one = [
            ("--epochs", self.epochs),
            ("--batch-size", self.batch_size as u64),
            ("--accumulate", self.accumulate as u64),
            ("--log-every", self.log_every),
            ("--checkpoint-every", self.checkpoint_every.unwrap_or(1)),
            ("--limit", self.limit.unwrap_or(1) as u64),
            ("--limit-val", self.limit_val.unwrap_or(1) as u64),
            ("--image-size", self.image_size.unwrap_or(1) as u64),
        ];
        for (flag, value) in at_least_one {
            if value == 0 {
                return Err(Error::setting(flag, value, "at least 1"));
            }
        }
        let others = [
            ("--max-steps", self.max_steps.unwrap_or(0)),
            ("--bn-batches", self.bn_batches as u64),
            ("--seed", self.seed),
        ];
        // More cannot be said in TOML.
        for (flag, value) in at_least_one.into_iter().chain(others) {
            if i64::try_from(value).is_err() {
                return Err(Error::setting(flag, value, format!("at most {}", i64::MAX)));
            }
        }
        check_batch(self.batch_size)?;
        if let Some(side) = self.image_size.filter(|side| *side > LONGEST_SIDE) {
            return Err(Error::setting("--image-size", side, format!("at most {LONGEST_SIDE}")));
        }
        if !self.batch_size.is_multiple_of(self.accumulate) {
            let problem = format!("{} micro-batches of a batch of {}", self.accumulate, self.batch_size);
            return Err(Error::setting("--accumulate", problem, "a divisor of --batch-size"));
        }
        for (flag, value) in [("--lr", self.lr), ("--init-scale", self.init_scale)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::setting(flag, value, "a positive number"));
            }
        }
        check_path("--data", self.data.as_deref())?;
        check_path("--init-from", self.init_from.as_deref())?;
        for (flag, value) in [("--momentum", self.momentum), ("--label-smoothing", self.label_smoothing)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::setting(flag, value, "in 0 to 1, without 1"));
            }
        }
        for (flag, value) in [("--wd", self.wd), ("--alpha", self.alpha)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::setting(flag, value, "0 or a positive number"));
            }
        }
        Ok(())
    }

    /// Checks what the method wants.
    fn check_method(&self) -> Result<()> {
        self.weight_method()?;
        if self.method == MethodName::Inq && self.epochs < inq::SHARES.len() as u64 {
            return Err(Error::setting("--epochs", self.epochs, "at least 4 with --method inq, one a share"));
        }
        if self.method == MethodName::DeepShiftPs && !is_one(&self.init_scale) {
            let expected = "1 with --method deepshift-ps, whose latents are uniform";
            return Err(Error::setting("--init-scale", self.init_scale, expected));
        }
        Ok(())
    }

    /// Opens the dataset.
    ///
    /// # Errors
    /// As [`Source::open_as`].
    pub fn open(&self, need: Need) -> Result<Source> {
        let Settings { seed, image_size, .. } = *self;
        let data = self.data.as_deref();
        Source::open_as(self.dataset, &Opening { data, need, seed, image_size, classes: None })
    }

    /// The method with its bits.
    ///
    /// # Errors
    /// [`Error::Setting`] for bits that the method does not have.
    pub fn weight_method(&self) -> Result<Method> {
        Method::new(self.method, self.bits)
    }

    /// What the update kernels want to know.
    pub fn hyper(&self) -> Hyper {
        Hyper { momentum: self.momentum, weight_decay: self.wd, alpha: self.alpha }
    }

    /// Images of a micro-batch.
    pub fn micro_batch(&self) -> usize {
        self.batch_size / self.accumulate
    }

    /// These, with what `flags` change of a run that goes on.
    ///
    /// # Errors
    /// [`Error::Usage`] where that cannot change; [`Error::Setting`] for an illegal value.
    pub fn extended(&self, flags: &Flags) -> Result<Settings> {
        let unknown = |e: &dyn std::fmt::Display| {
            Error::Usage(format!("a resumed run continues with its own settings ({e})"))
        };
        check_path("--data", flags.data.as_deref())?;
        let changed = Table::try_from(flags).map_err(|e| unknown(&e))?;
        if let Some(flag) = changed.keys().find(|key| !MAY_CHANGE.contains(&key.as_str())) {
            let can: String = MAY_CHANGE.iter().map(|flag| format!("--{flag}, ")).collect();
            return Err(Error::Usage(format!(
                "--{flag} cannot change in a resumed run, which continues with its own settings. {can}and --adapter can."
            )));
        }
        let mut table = Table::try_from(self).map_err(|e| unknown(&e))?;
        table.extend(changed);
        let settings: Settings = table.try_into().map_err(|e| unknown(&e))?;
        settings.check()?;
        Ok(settings)
    }

    /// The first setting of [`Settings::identity`] in which these differ from a run's, `then`, and that is none of `except`.
    pub fn differs(&self, then: &serde_json::Value, except: &[&str]) -> Option<String> {
        let now = self.identity();
        let differs = |name: &&String| !except.contains(&name.as_str()) && then.get(*name) != now.get(*name);
        // What only one of them has differs too.
        now.as_object()?.keys().chain(then.as_object()?.keys()).find(differs).cloned()
    }

    /// The settings that equal runs share: no paths, and not what only says how far or how often. Settings that there were not
    /// always are left out where they change nothing, so that runs from before can go on.
    pub fn identity(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).expect("settings are plain data");
        if let Some(map) = value.as_object_mut() {
            let later = [
                ("init-scale", is_one(&self.init_scale)),
                ("label-smoothing", self.label_smoothing == 0.0),
                ("bn-batches", self.bn_batches == 0),
            ];
            for (key, _) in later.iter().filter(|(_, unused)| *unused) {
                map.remove(*key);
            }
            for key in MAY_CHANGE.into_iter().filter(|key| *key != "epochs").chain(["init-from"]) {
                map.remove(key);
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Flags {
        toml::from_str(toml).expect("valid settings")
    }

    #[test]
    fn flag_then_file_then_recipe_then_default() {
        let flags = parse("lr = 0.5").or(parse("lr = 0.25\nepochs = 7\nrecipe = 'paper'"));
        let settings = flags.resolve().expect("legal");
        assert_eq!((settings.lr, settings.epochs, settings.batch_size), (0.5, 7, 256));
        assert_eq!(parse("").resolve().expect("legal").batch_size, 128);
        let demo = parse("recipe = 'demo'").resolve().expect("legal");
        assert_eq!((demo.lr, demo.init, demo.epochs), (0.1, InitName::Normal, 200));
    }

    #[test]
    fn illegal_values_name_their_flag() {
        for (toml, flag) in [
            ("bits = 7", "--bits"),
            ("batch-size = 0", "--batch-size"),
            ("lr = -0.1", "--lr"),
            ("lr = nan", "--lr"),
            ("init-scale = 0", "--init-scale"),
            ("momentum = 1.0", "--momentum"),
            ("wd = inf", "--wd"),
            ("batch-size = 10\naccumulate = 3", "--accumulate"),
            ("epochs = 0", "--epochs"),
            ("batch-size = 2000000", "--batch-size"),
        ] {
            let error = parse(toml).resolve().expect_err(toml);
            assert!(error.to_string().contains(flag) && error.exit_code() == 2, "{error}");
        }
        // Which a command line can say, and the run's file could not hold.
        for flags in [
            Flags { epochs: Some(u64::MAX), ..Flags::default() },
            Flags { max_steps: Some(1 << 63), ..Flags::default() },
            Flags { bn_batches: Some(usize::MAX), ..Flags::default() },
        ] {
            let error = flags.resolve().expect_err("more than TOML can say");
            assert!(error.to_string().contains("9223372036854775807") && error.exit_code() == 2, "{error}");
        }
        assert!(toml::from_str::<Flags>("arch = 'resnet21'").is_err());
        assert!(toml::from_str::<Flags>("learning-rate = 1").is_err());
    }
}
