//! Checkpoints: safetensors whose metadata holds everything a bit-exact resume needs, with checksums.
//!
//! The metadata is one key, `shiftnet`: JSON with sorted keys. It ends with a CRC-32 of the data section and
//! one of the header (length field included), in which its own eight digits count as zeros.

use crate::error::{Error, Result};
use crate::model::state::Tensors;
use crate::model::weights;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
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
    /// Signs flipped in the running epoch, by layer.
    pub flips: Vec<u64>,
    /// The best `val_top1` of the epochs so far, in percent.
    pub best: Option<f64>,
    /// The seed: with step and epoch, the whole state of the counter-based generator.
    pub seed: u64,
    /// The settings that equal runs share.
    pub settings: serde_json::Value,
}

const KEY: &str = "shiftnet";
const VERSION: u32 = 1;
const REMEDY: &str =
    "Resume from another checkpoint (best.safetensors may be whole), or begin again with --overwrite";

/// Writes `tensors` and `progress` to `path`: to a temporary name, flushed, renamed.
pub fn write(path: &Path, tensors: &Tensors, progress: &Progress) -> Result<()> {
    write_file(path, &encode(tensors, progress)?)
}

/// Writes `bytes` to `path` so that a kill at any moment leaves the old file or the new one.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let written = std::fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| std::fs::rename(&temporary, path)).and_then(|()| {
        // The rename itself lasts once the directory is flushed; not every system opens directories.
        match path.parent().map(std::fs::File::open) {
            Some(Ok(directory)) => directory.sync_all(),
            _ => Ok(()),
        }
    });
    renamed.map_err(|e| {
        // What was half-written is of no use; that it cannot be removed changes nothing.
        let _ = std::fs::remove_file(&temporary);
        Error::io("write", path, e)
    })
}

fn encode(tensors: &Tensors, progress: &Progress) -> Result<Vec<u8>> {
    let views: BTreeMap<&String, TensorView> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = bytemuck::cast_slice(values);
            (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("shapes match their values"))
        })
        .collect();
    // Without metadata first: the data section does not depend on it.
    let serialize = |metadata| {
        safetensors::serialize(&views, metadata).map_err(|e| Error::Gpu(format!("checkpoint: {e}")))
    };
    let plain = serialize(None)?;
    let data_crc = crc32fast::hash(&plain[header_len(&plain).expect("just written")..]);
    let mut json = serde_json::to_value(progress).expect("plain data");
    json["version"] = VERSION.into();
    json["crc_data"] = format!("{data_crc:08x}").into();
    json["crc_header"] = "00000000".into();
    let mut bytes = serialize(Some(HashMap::from([(KEY.to_string(), json.to_string())])))?;
    let header = header_len(&bytes).expect("just written");
    let crc = format!("{:08x}", crc32fast::hash(&bytes[..header]));
    let digits = crc_digits(&bytes[..header]).expect("just written");
    bytes[digits..digits + 8].copy_from_slice(crc.as_bytes());
    Ok(bytes)
}

/// Bytes before the data section: the length field and the header.
fn header_len(bytes: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(8)?;
    (end <= bytes.len()).then_some(end)
}

/// Where the digits of the header's checksum begin.
fn crc_digits(header: &[u8]) -> Option<usize> {
    const BEFORE: &[u8] = br#"\"crc_header\":\""#;
    let at = header.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    (at + 8 <= header.len()).then_some(at)
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
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let progress = match is_checkpoint(&bytes) {
        true => Some(decode(&bytes).map_err(|problem| Error::checkpoint(path, problem, REMEDY))?.1),
        false => None,
    };
    Ok((weights::parse(path, &bytes)?, progress))
}

/// Whether the bytes have a checkpoint's metadata, intact or not.
fn is_checkpoint(bytes: &[u8]) -> bool {
    const NAMED: &[u8] = br#"{"__metadata__":{"shiftnet":"#;
    let header = header_len(bytes).map(|end| &bytes[..end]);
    header.is_some_and(|h| crc_digits(h).is_some() || h.windows(NAMED.len()).any(|window| window == NAMED))
}

fn decode(bytes: &[u8]) -> Result<(Tensors, Progress), String> {
    let header = header_len(bytes).ok_or("is truncated, or not a safetensors file")?;
    let digits =
        crc_digits(&bytes[..header]).ok_or("is not a checkpoint of shiftnet, or its header is damaged")?;
    let mut zeroed = bytes[..header].to_vec();
    zeroed[digits..digits + 8].copy_from_slice(b"00000000");
    if bytes[digits..digits + 8] != *format!("{:08x}", crc32fast::hash(&zeroed)).as_bytes() {
        return Err("is damaged: its header does not match its checksum".into());
    }
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| format!("is damaged ({e})"))?;
    let json = metadata.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or("has no metadata of shiftnet")?;
    let json: serde_json::Value =
        serde_json::from_str(json).map_err(|e| format!("has damaged metadata ({e})"))?;
    if json["version"] != VERSION {
        return Err(format!("is of version {}, but this program reads {VERSION}", json["version"]));
    }
    if json["crc_data"] != format!("{:08x}", crc32fast::hash(&bytes[header..])) {
        return Err("is damaged or truncated: its data does not match its checksum".into());
    }
    let progress = serde_json::from_value(json).map_err(|e| format!("has damaged metadata ({e})"))?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("is damaged ({e})"))?;
    let tensor = |(name, view): (String, TensorView)| match view.dtype() {
        Dtype::F32 => Ok((name, (view.shape().to_vec(), bytemuck::pod_collect_to_vec(view.data())))),
        other => Err(format!("holds {name} as {other:?}, not F32")),
    };
    Ok((file.tensors().into_iter().map(tensor).collect::<Result<_, String>>()?, progress))
}

#[cfg(test)]
mod tests {
    use super::*;

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
