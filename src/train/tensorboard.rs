//! A run's events as TensorBoard's event files, in `tensorboard/` of the run's directory.
//!
//! A file is a row of records: length (u64), its masked CRC-32C (u32), an `Event` in protobuf, the CRC of that; all little-endian
//! (TensorFlow's `record_writer.h` and `event.proto`). It is a consumer of the run's events like the screen: each start of a run
//! writes a file of its own, which begins by telling TensorBoard to forget the steps that a resume does again.

use super::events::Event;
use super::run_dir::{self, RunDir};
use crate::error::{Error, Result};
use crc::{CRC_32_ISCSI, Crc};
use prost::Message;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes the events of one start of a run.
pub struct TensorBoard {
    path: PathBuf,
    file: File,
}

impl TensorBoard {
    /// Opens a new file for a run that goes on after `step` of `epoch`; 0 and 0 for a new one. What the run's metrics have up to
    /// there and no older file has (one that a kill cut short, or all of it, where the run began without TensorBoard) is written
    /// first. So is the last step, which is forgotten with what older files may have of an epoch that a stop cut short there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(run: &RunDir, step: u64, epoch: u64) -> Result<TensorBoard> {
        let older = event_files(&run.tensorboard())?;
        let mut board = TensorBoard::create(run, &older)?;
        let start = proto::SessionLog { status: proto::START };
        let forgotten = step.max(1) as i64;
        board.append(proto::What::SessionLog(start), forgotten)?;
        let mut known = replayed(&older)?;
        known.retain(|(_, at)| *at < forgotten);
        // A run of which nothing is logged has no metrics.
        let metrics = std::fs::read(run.metrics()).unwrap_or_default();
        for line in run_dir::lines_until(&metrics, step, epoch) {
            if let Ok(line) = serde_json::from_slice(line) {
                board.scalars(&line, |tag, at| !known.contains(&(tag.to_string(), at)))?;
            }
        }
        Ok(board)
    }

    /// Writes what the metrics of a run that is finished have and its event files have not, where that is anything: of a run that was
    /// killed before its last events were written, or that had no event files.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Usage`] where something is missing, and another process trains the run.
    pub fn complete(run: &RunDir) -> Result<()> {
        let untold = || -> Result<_> {
            let older = event_files(&run.tensorboard())?;
            let known = replayed(&older)?;
            let metrics = std::fs::read(run.metrics()).unwrap_or_default();
            let is_untold = |line: &serde_json::Value| {
                let step = line["step"].as_i64().unwrap_or(0);
                scalars(line).into_iter().any(|(tag, _)| !known.contains(&(tag, step)))
            };
            let lines = run_dir::lines_until(&metrics, u64::MAX, u64::MAX);
            let lines = lines.filter_map(|line| serde_json::from_slice(line).ok()).filter(is_untold);
            let lines: Vec<serde_json::Value> = lines.collect();
            Ok((lines, older, known))
        };
        // Reading needs no lock, which a disk that cannot be written would not give.
        if untold()?.0.is_empty() {
            return Ok(());
        }
        let _lock = run.lock()?;
        // Somebody else may have told it meanwhile.
        let (lines, older, known) = untold()?;
        if lines.is_empty() {
            return Ok(());
        }
        let mut board = TensorBoard::create(run, &older)?;
        let is_new = |tag: &str, at| !known.contains(&(tag.to_string(), at));
        lines.iter().try_for_each(|line| board.scalars(line, is_new))
    }

    /// A new file behind the `older` ones.
    fn create(run: &RunDir, older: &[PathBuf]) -> Result<TensorBoard> {
        let directory = run.tensorboard();
        std::fs::create_dir_all(&directory).map_err(|e| Error::io("create", &directory, e))?;
        let path = directory.join(next_name(older, now() as u64));
        let file = File::create_new(&path).map_err(|e| Error::io("create", &path, e))?;
        let mut board = TensorBoard { path, file };
        board.append(proto::What::FileVersion("brain.Event:2".into()), 0)?;
        Ok(board)
    }

    /// Writes what an event says: that of steps which are for the log, and of epochs.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Step(step) if !step.logged => Ok(()),
            Event::Step(_) | Event::Epoch(_) => {
                self.scalars(&serde_json::to_value(event).expect("events are plain data"), |_, _| true)
            }
            _ => Ok(()),
        }
    }

    /// Writes the scalars of a line of the metrics that are `wanted`, by tag and step.
    fn scalars(&mut self, line: &serde_json::Value, wanted: impl Fn(&str, i64) -> bool) -> Result<()> {
        let step = line["step"].as_i64().unwrap_or(0);
        let named = scalars(line).into_iter().filter(|(tag, _)| wanted(tag, step));
        let values: Vec<_> =
            named.map(|(tag, value)| proto::Value { tag, simple_value: Some(value) }).collect();
        if values.is_empty() {
            return Ok(());
        }
        self.append(proto::What::Summary(proto::Summary { values }), step)
    }

    fn append(&mut self, what: proto::What, step: i64) -> Result<()> {
        let event = proto::Event { wall_time: now(), step, what: Some(what) };
        let record = record(&event.encode_to_vec());
        self.file.write_all(&record).map_err(|e| Error::io("write", &self.path, e))
    }
}

/// The scalars, by tag and step, that `files` leave.
fn replayed(files: &[PathBuf]) -> Result<BTreeSet<(String, i64)>> {
    let mut known = BTreeSet::new();
    for path in files {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        replay(&bytes, &mut known);
    }
    Ok(known)
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

const PREFIX: &str = "events.out.tfevents.";

/// The event files of a directory, in the order in which TensorBoard reads them.
pub fn event_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(Error::io("read", directory, e)),
    };
    let ours =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(ours).collect();
    files.sort();
    Ok(files)
}

/// A name that comes after those of `older` files, whatever the clock says: TensorBoard reads in the order of the names.
fn next_name(older: &[PathBuf], seconds: u64) -> String {
    let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.strip_prefix(PREFIX)?.to_string());
    let second = |name: String| name.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok());
    let last = older.iter().filter_map(name).filter_map(second).max().unwrap_or(0);
    format!("{PREFIX}{:010}.shiftnet.{:06}", seconds.max(last), older.len())
}

/// The scalars of a line of the metrics, called as users of PyTorch do. What is null was not finite.
fn scalars(line: &serde_json::Value) -> Vec<(String, f32)> {
    const STEP: &[(&str, &str)] =
        &[("train/loss", "loss"), ("train/lr", "lr"), ("train/images_per_s", "images_per_s")];
    const EPOCH: &[(&str, &str)] = &[
        ("train/epoch_loss", "train_loss"),
        ("train/epoch_top1", "train_top1"),
        ("val/loss", "val_loss"),
        ("val/top1", "val_top1"),
        ("val/top5", "val_top5"),
    ];
    const WEIGHTS: &[&str] =
        &["sign_flip_rate", "sparsity", "zero_change_rate", "shift_change_rate", "never_flipped"];
    let of = |value: &serde_json::Value, key: &str| value[key].as_f64().map(|value| value as f32);
    let names = if line["event"] == "step" { STEP } else { EPOCH };
    let mut scalars: Vec<(String, f32)> =
        names.iter().filter_map(|(tag, key)| Some((tag.to_string(), of(line, key)?))).collect();
    let mut weights = |line: &serde_json::Value, layer: Option<&str>| {
        for key in WEIGHTS {
            let tag = layer.map_or(format!("weights/{key}"), |layer| format!("weights_{key}/{layer}"));
            scalars.extend(of(line, key).map(|value| (tag, value)));
        }
        let layer = layer.map_or(String::new(), |layer| format!("{layer}."));
        for latent in line["gradient_norms"].as_object().into_iter().flat_map(|norms| norms.keys()) {
            let norm = of(&line["gradient_norms"], latent);
            scalars.extend(norm.map(|norm| (format!("gradient_norms/{layer}{latent}"), norm)));
        }
    };
    weights(line, None);
    for layer in line["layers"].as_array().into_iter().flatten() {
        if let Some(name) = layer["name"].as_str() {
            weights(layer, Some(name));
        }
    }
    scalars
}

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The CRC that records have: rotated, and with a constant added, as data may hold CRCs itself.
fn masked_crc(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let [of_length, of_data] = [&length[..], data].map(|bytes| masked_crc(bytes).to_le_bytes());
    [&length[..], &of_length, data, &of_data].concat()
}

/// Adds tag and step of each scalar in a file's records to `known`, and takes away what the file tells to forget. The records
/// end at the first that is not whole.
fn replay(mut bytes: &[u8], known: &mut BTreeSet<(String, i64)>) {
    while let Some((data, rest)) = first_record(bytes) {
        bytes = rest;
        match proto::Event::decode(data) {
            Ok(proto::Event { what: Some(proto::What::Summary(summary)), step, .. }) => {
                known.extend(summary.values.into_iter().map(|value| (value.tag, step)));
            }
            Ok(proto::Event { what: Some(proto::What::SessionLog(log)), step, .. })
                if log.status == proto::START =>
            {
                known.retain(|(_, at)| *at < step);
            }
            _ => {}
        }
    }
}

/// The first record's data, and what follows it.
fn first_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let whole = u32::from_le_bytes(*crc) == masked_crc(length);
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|_| whole)?;
    let (data, rest) = rest.split_at_checked(length)?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*crc) == masked_crc(data)).then_some((data, rest))
}

/// The part of TensorFlow's `event.proto` and `summary.proto` that is used.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Event {
        /// Seconds since 1970.
        #[prost(double, tag = "1")]
        pub wall_time: f64,
        #[prost(int64, tag = "2")]
        pub step: i64,
        #[prost(oneof = "What", tags = "3, 5, 7")]
        pub what: Option<What>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum What {
        #[prost(string, tag = "3")]
        FileVersion(String),
        #[prost(message, tag = "5")]
        Summary(Summary),
        #[prost(message, tag = "7")]
        SessionLog(SessionLog),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Summary {
        #[prost(message, repeated, tag = "1")]
        pub values: Vec<Value>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Value {
        #[prost(string, tag = "1")]
        pub tag: String,
        #[prost(float, optional, tag = "2")]
        pub simple_value: Option<f32>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct SessionLog {
        #[prost(int32, tag = "1")]
        pub status: i32,
    }

    /// `SessionLog.START`: what came at this step or later is forgotten.
    pub const START: i32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_checksums() {
        // RFC 3720, B.4: 32 bytes of zeros, and 0 to 31.
        assert_eq!(CRC.checksum(&[0; 32]), 0x8A91_36AA);
        assert_eq!(CRC.checksum(&(0..32).collect::<Vec<u8>>()), 0x46DD_794E);
    }

    #[test]
    fn records_end_at_the_first_broken_byte() {
        let event = |step| {
            let values = vec![proto::Value { tag: "train/loss".into(), simple_value: Some(0.5) }];
            let what = Some(proto::What::Summary(proto::Summary { values }));
            record(&proto::Event { wall_time: 1.5, step, what }.encode_to_vec())
        };
        let [first, second] = [event(1), event(2)];
        let whole = [&first[..], &second].concat();
        let steps = |bytes: &[u8]| {
            let mut known = BTreeSet::new();
            replay(bytes, &mut known);
            known.into_iter().map(|(_, step)| step).collect::<Vec<_>>()
        };
        assert_eq!(steps(&whole), [1, 2]);
        let what = Some(proto::What::SessionLog(proto::SessionLog { status: proto::START }));
        let start = record(&proto::Event { wall_time: 2.0, step: 2, what }.encode_to_vec());
        assert_eq!(steps(&[&whole[..], &start].concat()), [1], "what is done again is forgotten");
        for i in 0..whole.len() {
            let expected: &[i64] = if i < first.len() { &[] } else { &[1] };
            assert_eq!(steps(&whole[..i]), expected, "cut to {i}");
            let mut broken = whole.clone();
            broken[i] ^= 4;
            assert_eq!(steps(&broken), expected, "byte {i}");
        }
    }

    #[test]
    fn names_are_in_order_whatever_the_clock_says() {
        let mut names: Vec<PathBuf> = Vec::new();
        for seconds in [1_764_100_000, 1_764_100_000, 1_764_000_000, 1_764_100_001] {
            names.push(next_name(&names, seconds).into());
        }
        assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn lines_of_the_metrics_have_names() {
        let step =
            serde_json::json!({"event": "step", "step": 3, "loss": null, "lr": 0.5, "images_per_s": 7.0});
        assert_eq!(scalars(&step), [("train/lr".to_string(), 0.5), ("train/images_per_s".into(), 7.0)]);
        let layers = serde_json::json!([{"name": "layer1.0.conv1", "sign_flip_rate": 0.25, "sparsity": 0.75, "never_flipped": 0.5,
            "gradient_norms": {"weight_sign": 1.5}}]);
        let epoch = serde_json::json!({"event": "epoch", "step": 3, "val_top1": 50.0, "sparsity": 0.5, "layers": layers});
        let names: Vec<String> = scalars(&epoch).into_iter().map(|(tag, _)| tag).collect();
        let expected = [
            "val/top1",
            "weights/sparsity",
            "weights_sign_flip_rate/layer1.0.conv1",
            "weights_sparsity/layer1.0.conv1",
            "weights_never_flipped/layer1.0.conv1",
            "gradient_norms/layer1.0.conv1.weight_sign",
        ];
        assert_eq!(names, expected);
    }
}
