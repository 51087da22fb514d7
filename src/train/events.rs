//! What a training run tells: typed events. `step` and `epoch` are also the lines of `metrics.jsonl`.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Something that happened in a run.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    Step(Step),
    Epoch(Epoch),
    /// A checkpoint was written.
    Checkpoint {
        step: u64,
        #[serde(serialize_with = "as_text")]
        path: PathBuf,
    },
    Warning {
        message: String,
    },
    /// The run ended: finished, or interrupted.
    End {
        step: u64,
        interrupted: bool,
    },
}

/// A path as people read it: JSON has no other than UTF-8.
fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// A step that is done. Only every `--log-every`th goes to the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// From 0.
    pub epoch: u64,
    /// From 1, over the whole run.
    pub step: u64,
    /// Of this step, without the regularizer.
    pub loss: f32,
    /// The learning rate.
    pub lr: f32,
    /// Images of the steps since the last one that was logged, over their time, without evaluation and checkpoints.
    pub images_per_s: f64,
    /// Seconds that a step since then waited for its images, on average.
    pub data_wait_s: f64,
    /// Whether it is one for the log.
    #[serde(skip)]
    pub logged: bool,
}

/// The end of an epoch, or of the run within one.
#[derive(Clone, Debug, Serialize)]
pub struct Epoch {
    /// From 0.
    pub epoch: u64,
    /// The steps so far, over the whole run.
    pub step: u64,
    /// The epoch's learning rate.
    pub lr: f32,
    /// Means over the epoch's steps; accuracies in percent.
    pub train_loss: f64,
    pub train_top1: f64,
    /// Of the test images.
    pub val_loss: f64,
    pub val_top1: f64,
    pub val_top5: f64,
    /// Of the epoch's steps, without evaluation and checkpoints.
    pub images_per_s: f64,
    /// Images of the training and of the evaluation that could not be read, and that others took the places of.
    #[serde(skip_serializing_if = "super::is_default")]
    pub corrupt_images: u64,
    /// Of all the family's weights together.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// The family's, in the network's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// Whether this is the best `val_top1` so far.
    pub best: bool,
}

/// The state of a family's weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Weights {
    /// Weights whose sign changed at a step, summed over the epoch, over weights x steps.
    pub sign_flip_rate: f64,
    /// Share of weights that are 0.
    pub sparsity: f64,
    /// Nonzero weights by shift: how many are ±1, ±2, ±4 ... times the smallest power of two. Empty for full precision.
    pub shift_histogram: Vec<u64>,
    /// Share of the weights that are not 0 and not yet discrete: INQ's, until its last share is fixed.
    #[serde(skip_serializing_if = "super::is_default")]
    pub real: f64,
    /// Weights that went to or from 0 at a step, summed over the epoch, over weights x steps; with those that INQ fixed to 0 at the
    /// epoch's beginning.
    pub zero_change_rate: f64,
    /// Nonzero weights whose magnitude changed at a step, likewise.
    pub shift_change_rate: f64,
    /// Steps since the signs last flipped of those weights whose sign did: the quartiles. None where none did.
    pub steps_since_flip: Option<[u64; 3]>,
    /// Share of the weights whose sign never flipped in the run.
    pub never_flipped: f64,
    /// The L2 norm of each latent's gradient at the last step, by its name on disk; without decay and regularizer.
    pub gradient_norms: BTreeMap<String, f64>,
}

/// One layer's discrete weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// As in the checkpoint: `layer1.0.conv1`.
    pub name: String,
    #[serde(flatten)]
    pub weights: Weights,
}
