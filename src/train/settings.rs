//! A run's settings, resolved: what they may be, and what a run that goes on may change.

use super::flags::{Flags, about};
use super::schedule::Schedule;
use crate::data::{DatasetName, Need, Opening, Source, check_side};
use crate::error::{Error, Result};
use crate::kernels::Hyper;
use crate::method::{InitName, Method, MethodName, inq};
use crate::model::{Arch, Shortcut};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use toml::Table;

/// How the training images are varied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augment {
    /// Crop after 4 pixels of padding, and horizontal flip; of image folders, RandomResizedCrop and flip.
    #[default]
    Standard,
    None,
}

/// What may change in a run that goes on: how far, how often, and where the data is.
const MAY_CHANGE: [&str; 6] = ["epochs", "max-steps", "log-every", "checkpoint-every", "data", "strict"];

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
        self.image_size.map_or(Ok(()), |side| check_side("--image-size", side))?;
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
            ("image-size = 5000", "--image-size"),
            ("method = 'inq'\nepochs = 3", "--epochs is 3, but must be at least 4 with --method inq"),
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
