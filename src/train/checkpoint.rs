//! Checkpoints: safetensors whose metadata holds everything a bit-exact resume needs, with checksums.

use crate::data::{Input, pack};
use crate::deploy::packed;
use crate::error::{Error, Result};
use crate::kernels::latent_update::COUNTERS;
use crate::model::container::{self, Kind};
use crate::model::state::Tensors;
use crate::model::weights;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where a run stands, beside its tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done, over the whole run.
    pub step: u64,
    /// The running epoch, from 0, and its steps done: the position in the data.
    pub epoch: u64,
    pub step_in_epoch: u64,
    /// Sums over the running epoch's steps.
    pub loss_sum: f64,
    pub top1_sum: f64,
    /// What changed in the running epoch, by layer: signs that flipped, weights that went to or from 0, nonzero weights whose
    /// magnitude changed.
    pub flips: Vec<u64>,
    #[serde(default)]
    pub zero_changes: Vec<u64>,
    #[serde(default)]
    pub shift_changes: Vec<u64>,
    /// The best `val_top1` of the epochs so far, in percent.
    pub best: Option<f64>,
    /// Images of the running epoch that could not be read, and that others took the places of.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub corrupt_images: u64,
    /// How many training images there are; 0 in checkpoints from before it was kept.
    #[serde(default)]
    pub training_images: u64,
    /// The seed: with step and epoch, the whole state of the counter-based generator.
    pub seed: u64,
    /// The settings that equal runs share.
    pub settings: serde_json::Value,
    /// What the network is fed, where the dataset's name does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
}

impl Progress {
    /// The counters of the running epoch, in the order of the kernels', each a number a layer.
    pub fn counters(&mut self) -> [&mut Vec<u64>; COUNTERS] {
        [&mut self.flips, &mut self.zero_changes, &mut self.shift_changes]
    }
}

const KIND: Kind = Kind { key: "shiftnet", version: 1, name: "a checkpoint of shiftnet" };
const REMEDY: &str = "Use another checkpoint of the run (best.safetensors or last.safetensors may be whole), or train it anew with `train --overwrite`";

/// The bytes of a checkpoint.
///
/// # Errors
/// [`Error::Usage`] for a tensor whose values are not as many as its shape says, and where safetensors refuses them.
pub fn encode(tensors: &Tensors, progress: &Progress) -> Result<Vec<u8>> {
    let views = weights::views(tensors)?;
    let json = serde_json::to_value(progress).expect("plain data");
    container::encode(KIND, &views, json)
        .map_err(|e| Error::Usage(format!("the checkpoint cannot be written: {e}")))
}

/// Reads a checkpoint.
///
/// # Errors
/// [`Error::Checkpoint`] where any byte is not what was written.
pub fn read(path: &Path) -> Result<(Tensors, Progress)> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    decode(&bytes).map_err(|problem| Error::checkpoint(path, problem, REMEDY))
}

/// Reads the weights of a file under torchvision's names (see [`weights::read`]). Where it is a checkpoint, its
/// checksums are checked, and its progress is returned too.
///
/// # Errors
/// [`Error::Checkpoint`] where the file is damaged or foreign.
pub fn read_weights(path: &Path) -> Result<(Tensors, Option<Progress>)> {
    if pack::is_file(path) {
        let problem = "is a packed dataset, and no network";
        return Err(Error::checkpoint(path, problem, "`train` and `eval` take it as --data"));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    if packed::begins(&bytes) {
        let problem = "is a packed model: it runs, and is neither trained nor exported further";
        return Err(Error::checkpoint(path, problem, "Give the run or the weight file that it was made of"));
    }
    let progress = match is_checkpoint(&bytes) {
        true => Some(decode(&bytes).map_err(|problem| Error::checkpoint(path, problem, REMEDY))?.1),
        false => None,
    };
    Ok((weights::parse(path, &bytes)?, progress))
}

/// Whether the bytes have a checkpoint's metadata, intact or not.
fn is_checkpoint(bytes: &[u8]) -> bool {
    container::begins(KIND, bytes) || container::is_any(bytes)
}

fn decode(bytes: &[u8]) -> Result<(Tensors, Progress), String> {
    let (file, json) = container::decode(KIND, bytes)?;
    let progress = serde_json::from_value(json).map_err(|e| format!("has damaged metadata ({e})"))?;
    let tensor = |(name, view): (String, TensorView)| match view.dtype() {
        Dtype::F32 => Ok((name, (view.shape().to_vec(), bytemuck::pod_collect_to_vec(view.data())))),
        other => Err(format!("holds {name} as {other:?}, not F32")),
    };
    Ok((file.tensors().into_iter().map(tensor).collect::<Result<_, String>>()?, progress))
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    fn small() -> (Tensors, Progress) {
        let tensors = Tensors::from([
            ("a.weight".to_string(), (vec![2, 3], vec![1.0, -2.0, 0.5, 0.0, -0.0, 1e-40])),
            ("momentum.a.weight".to_string(), (vec![2, 3], vec![0.25; 6])),
        ]);
        let progress =
            Progress { step: 17, epoch: 2, best: Some(51.25), loss_sum: 0.1 + 0.2, ..Progress::default() };
        (tensors, progress)
    }

    #[test]
    fn comes_back_to_the_bit() {
        let (tensors, progress) = small();
        let bytes = encode(&tensors, &progress).expect("valid");
        let (read, also) = decode(&bytes).expect("whole");
        assert_eq!(encode(&read, &also).expect("valid"), bytes);
        assert_eq!(also, progress);
        assert!(SafeTensors::deserialize(&bytes).is_ok(), "others can read it");
    }

    #[test]
    fn values_that_do_not_fill_their_shape_are_an_error() {
        let (mut tensors, progress) = small();
        tensors.insert("b.bias".into(), (vec![3], vec![0.5; 2]));
        let error = encode(&tensors, &progress).expect_err("two of three").to_string();
        assert!(error.contains("b.bias has 2 values"), "{error}");
    }

    /// Sums as a run makes them, which a parser that is not exact reads a last digit off.
    #[test]
    fn sums_come_back_to_the_bit() {
        let (tensors, mut progress) = small();
        for i in 1..2000 {
            progress.loss_sum += f64::from(2.3 / i as f32);
            progress.best = Some(100.0 * f64::from(i) / 7919.0);
            let (_, read) = decode(&encode(&tensors, &progress).expect("valid")).expect("whole");
            assert_eq!(read, progress);
        }
    }

    #[test]
    fn nothing_makes_the_reader_panic() {
        let (tensors, progress) = small();
        let bytes = encode(&tensors, &progress).expect("valid");
        let refused = container::fuzz(&bytes, |bytes| decode(bytes).is_ok());
        assert!(refused > 100, "{refused}");
    }

    /// Every byte of a checkpoint is covered: any flipped bit and any truncation is an error.
    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let (tensors, progress) = small();
        let bytes = encode(&tensors, &progress).expect("valid");
        for i in 0..bytes.len() {
            assert!(decode(&bytes[..i]).is_err(), "truncated to {i}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[i] ^= 1 << bit;
                assert!(decode(&damaged).is_err(), "byte {i}, bit {bit} of {}", bytes.len());
                // What only reads weights recognizes the damage too, or finds no safetensors file.
                let plain = SafeTensors::deserialize(&damaged).is_ok();
                assert!(is_checkpoint(&damaged) || !plain, "byte {i}, bit {bit} of {}", bytes.len());
            }
        }
    }
}
