//! What training left: weights, and what their file or run says of them.

use super::checkpoint;
use super::run_dir::{self, RunDir};
use super::settings::Settings;
use crate::data::{DatasetName, Input};
use crate::deploy::{self, Model};
use crate::error::{Error, Result};
use crate::method::{Method, MethodName};
use crate::model::state::Tensors;
use crate::model::{Arch, Shortcut, weights};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

/// Trained weights.
pub struct Trained {
    /// Where they were read from.
    pub file: PathBuf,
    /// The network that they are of: what the file says, or a user.
    pub arch: Arch,
    pub shortcut: Shortcut,
    /// What the weights of the residual blocks are of.
    pub method: Method,
    /// Plain weights: see [`weights::discretize`].
    pub tensors: Tensors,
    /// The run's, where a run's directory was given.
    pub settings: Option<Settings>,
    /// What the run or the checkpoint was trained on.
    pub dataset: Option<DatasetName>,
    /// What the checkpoint says of its images and classes.
    pub input: Option<Input>,
}

/// The method of `tensors`: what the `settings` of their checkpoint say, else what they look like.
pub fn method(tensors: &Tensors, settings: Option<&serde_json::Value>) -> Method {
    let said = settings.and_then(|settings| {
        let name = MethodName::from_str(settings["method"].as_str()?, false).ok()?;
        Method::new(name, settings["bits"].as_u64()?.try_into().ok()?).ok()
    });
    said.unwrap_or_else(|| weights::method_of(tensors))
}

/// What a user says where a file does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stated {
    /// In place of what the file says.
    pub arch: Option<Arch>,
    pub shortcut: Option<Shortcut>,
    /// A run's last checkpoint in place of its best.
    pub last: bool,
}

impl Trained {
    /// Reads a run's checkpoint or a weight file.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] for a damaged or foreign file, [`Error::Usage`] where nothing says the architecture.
    pub fn read(path: &Path, stated: Stated) -> Result<Trained> {
        let file = run_dir::weights_file(path, stated.last)?;
        let settings = match path.is_dir() {
            true => Some(RunDir::new(path).config()?.settings),
            false => None,
        };
        let (tensors, progress) = checkpoint::read_weights(&file)?;
        let (settings_then, input) = progress.map(|progress| (progress.settings, progress.input)).unzip();
        let method = method(&tensors, settings_then.as_ref());
        let known = |key: &str| settings_then.as_ref().and_then(|s| s[key].as_str().map(str::to_string));
        let arch = match (stated.arch, known("arch")) {
            (Some(arch), _) => arch,
            (None, Some(name)) => name.parse()?,
            (None, None) => {
                return Err(Error::Usage(format!(
                    "{} does not say its architecture: name it with --arch",
                    file.display()
                )));
            }
        };
        let shortcut = stated.shortcut.or((known("shortcut").as_deref() == Some("a")).then_some(Shortcut::A));
        let dataset = known("dataset").and_then(|name| DatasetName::from_str(&name, false).ok());
        let tensors = weights::discretize(tensors).map_err(|problem| {
            Error::checkpoint(&file, problem, "Give a file with all latents of each layer")
        })?;
        Ok(Trained {
            file,
            arch,
            shortcut: shortcut.unwrap_or_default(),
            method,
            tensors,
            dataset: settings.as_ref().map(|s| s.dataset).or(dataset),
            settings,
            input: input.flatten(),
        })
    }

    /// That the weights are those of the architecture, whatever its classes.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where they are not.
    pub fn check(&self) -> Result<()> {
        let side = if self.arch.is_imagenet() { 224 } else { 32 };
        let classes = self.tensors.get("fc.bias").map_or(1, |(_, values)| values.len());
        let graph = self.arch.build(self.shortcut, [side; 2], classes)?;
        weights::check_fits(self.arch, &graph, (&self.file, &self.tensors))
    }

    /// What is known of the images and classes of `dataset` without its files.
    pub fn input(&self, dataset: DatasetName) -> Option<Input> {
        self.input.clone().filter(|_| self.dataset == Some(dataset)).or_else(|| dataset.input())
    }

    /// The model for what `input` says, without ranges of activations.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the weights do not fit the network.
    pub fn fold(&self, input: Input) -> Result<Model> {
        let network = (self.arch, self.shortcut);
        deploy::fold::fold(network, self.method, input, (&self.file, &self.tensors))
    }
}
