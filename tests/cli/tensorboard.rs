//! TensorBoard's event files, read back by a reader that shares nothing with the writer.

use crate::{files, small, succeed, temporary, text};
use std::collections::BTreeMap;
use std::path::Path;

/// CRC-32C bit by bit, masked as TFRecord files have it.
fn masked_crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xA282_EAD8)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    bytes.get(at..at + N).and_then(|b| b.try_into().ok()).ok_or_else(|| format!("cut at byte {at}"))
}

/// The data of all records, or what is wrong with the file.
fn records(bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let (mut at, mut records) = (0, Vec::new());
    while at < bytes.len() {
        let length: [u8; 8] = number(bytes, at)?;
        if u32::from_le_bytes(number(bytes, at + 8)?) != masked_crc(&length) {
            return Err(format!("the length at byte {at} is damaged"));
        }
        let length = u64::from_le_bytes(length) as usize;
        let data = bytes.get(at + 12..at + 12 + length).ok_or("the data is cut")?;
        if u32::from_le_bytes(number(bytes, at + 12 + length)?) != masked_crc(data) {
            return Err(format!("the data at byte {} is damaged", at + 12));
        }
        records.push(data);
        at += 16 + length;
    }
    Ok(records)
}

/// A field of a protobuf message.
#[derive(Debug)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message by number.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (&byte, rest) = bytes.split_first().expect("a number");
            *bytes = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let mut take = |length: usize| {
            let (head, rest) = bytes.split_at(length);
            bytes = rest;
            head
        };
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Number(u64::from_le_bytes(take(8).try_into().expect("eight bytes"))),
            5 => Field::Number(u32::from_le_bytes(take(4).try_into().expect("four bytes")).into()),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (head, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(head)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

/// What TensorBoard shows of a directory: values by tag and step. A START takes away what came at its step or later; no value
/// may come twice.
fn shown(directory: &Path) -> BTreeMap<(String, u64), f32> {
    let mut shown = BTreeMap::new();
    for (name, bytes) in files(directory) {
        assert!(name.starts_with("events.out.tfevents."), "{name}");
        let records = records(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (i, record) in records.into_iter().enumerate() {
            let event = fields(record);
            let step = event.iter().find_map(|(n, field)| match (n, field) {
                (2, Field::Number(step)) => Some(*step),
                _ => None,
            });
            let step = step.unwrap_or(0);
            for (n, field) in event {
                match (n, field) {
                    (1, Field::Number(time)) => assert!(f64::from_bits(time) > 1.7e9),
                    (2, _) => {}
                    (3, Field::Bytes(version)) => assert_eq!((i, version), (0, &b"brain.Event:2"[..])),
                    (5, Field::Bytes(summary)) => summarize(&mut shown, step, summary),
                    (7, Field::Bytes(log)) => {
                        assert!(i == 1 && matches!(fields(log)[..], [(1, Field::Number(1))]), "START");
                        shown.retain(|(_, at), _| *at < step);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    shown
}

fn summarize(shown: &mut BTreeMap<(String, u64), f32>, step: u64, summary: &[u8]) {
    for (n, value) in fields(summary) {
        let (1, Field::Bytes(value)) = (n, value) else { panic!("no value: {n}") };
        let [(1, Field::Bytes(tag)), (2, Field::Number(bits))] = fields(value)[..] else {
            panic!("no scalar")
        };
        let tag = String::from_utf8(tag.to_vec()).expect("UTF-8");
        let value = f32::from_bits(u32::try_from(bits).expect("four bytes"));
        assert!(shown.insert((tag.clone(), step), value).is_none(), "{tag} at {step} twice");
    }
}

/// What a run's metrics say, under TensorBoard's names.
fn logged(run: &Path) -> BTreeMap<(String, u64), f32> {
    let mut logged = BTreeMap::new();
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let step = line["step"].as_u64().expect("a step");
        let names: &[(&str, &str)] = match line["event"] == "step" {
            true => &[("train/loss", "loss"), ("train/lr", "lr"), ("train/images_per_s", "images_per_s")],
            false => &[
                ("val/loss", "val_loss"),
                ("val/top1", "val_top1"),
                ("val/top5", "val_top5"),
                ("weights/sign_flip_rate", "sign_flip_rate"),
                ("weights/sparsity", "sparsity"),
                ("weights/zero_change_rate", "zero_change_rate"),
                ("weights/shift_change_rate", "shift_change_rate"),
                ("weights/never_flipped", "never_flipped"),
            ],
        };
        for (tag, key) in names {
            logged.insert((tag.to_string(), step), line[key].as_f64().expect(key) as f32);
        }
    }
    logged
}

/// Fails unless TensorBoard shows what was logged, and the layers beside it.
fn assert_complete(run: &Path) {
    let shown = shown(&run.join("tensorboard"));
    let logged = logged(run);
    assert!(logged.len() > 10);
    for (key, value) in &logged {
        assert_eq!(shown.get(key), Some(value), "{key:?}");
    }
    let layers = shown.keys().filter(|(tag, _)| tag.starts_with("weights_")).count();
    assert_eq!(layers, 5 * 8 * 2, "five values of eight layers in two epochs");
    let norms = shown.keys().filter(|(tag, _)| tag.starts_with("gradient_norms/")).count();
    assert_eq!(norms, 4 * 9 * 2, "four latents of eight layers, and of all together, in two epochs");
    let more = shown.keys().filter(|(tag, _)| tag.starts_with("train/epoch_")).count();
    assert_eq!((more, shown.len()), (4, logged.len() + layers + norms + more));
}

/// A run that is set back behind what it has told, as a kill does: each step shows once. And one that tells late, all.
#[test]
fn after_a_resume() {
    let directory = temporary();
    let run = directory.path().join("run");
    let board = run.join("tensorboard");
    succeed(&small(&run, &["--max-steps", "2", "--tensorboard", "--quiet"]));
    let checkpoint = std::fs::read(run.join("last.safetensors")).expect("a checkpoint");
    let resume = ["train", "--resume", text(&run), "--max-steps", "4", "--quiet"];
    succeed(&resume);
    assert_eq!(files(&board).len(), 2, "a resumed run goes on with its own");
    assert_complete(&run);
    // The last record is torn, too.
    let (name, bytes) = files(&board).pop().expect("a file");
    std::fs::write(board.join(&name), &bytes[..bytes.len() - 3]).expect("a small file");
    std::fs::write(run.join("last.safetensors"), checkpoint).expect("a small file");
    succeed(&resume);
    assert_eq!(files(&board).len(), 3);
    std::fs::write(board.join(&name), &bytes).expect("a small file");
    assert_complete(&run);
    // Without older files, what was logged is told again.
    std::fs::remove_dir_all(&board).expect("it is there");
    let longer = ["train", "--resume", text(&run), "--epochs", "3", "--max-steps", "6", "--quiet"];
    succeed(&[&longer[..], &["--tensorboard"]].concat());
    let shown = shown(&board);
    assert!(logged(&run).iter().all(|(key, value)| shown.get(key) == Some(value)));
    succeed(&small(&run, &["--max-steps", "0", "--overwrite", "--quiet"]));
    assert!(!board.exists(), "the old run's are gone, and the new one was not asked for any");
}

/// A run that is finished is told of as one that goes on is: what a kill kept from the files, or all of it; and nothing twice.
#[test]
fn a_finished_run_is_told_of() {
    let directory = temporary();
    let run = directory.path().join("run");
    let board = run.join("tensorboard");
    succeed(&small(&run, &["--max-steps", "4", "--quiet"]));
    let again = ["train", "--resume", text(&run), "--quiet", "--tensorboard"];
    succeed(&again);
    assert_complete(&run);
    let (name, bytes) = files(&board).pop().expect("a file");
    // Without the last epoch.
    std::fs::write(board.join(&name), &bytes[..bytes.len() - 3]).expect("a small file");
    succeed(&["train", "--resume", text(&run), "--quiet"]);
    assert_eq!(files(&board).len(), 2);
    succeed(&again);
    assert_eq!(files(&board).len(), 2, "nothing is missing");
    // The reader has no use for torn records.
    let whole = bytes.len() - last_record(&bytes);
    std::fs::write(board.join(&name), &bytes[..whole]).expect("a small file");
    assert_complete(&run);
}

/// How long the last record of a whole file is.
fn last_record(bytes: &[u8]) -> usize {
    records(bytes).expect("whole").last().expect("a record").len() + 16
}

/// What a stop within an epoch has told of that epoch is not shown beside what the whole of it tells.
#[test]
fn an_epoch_that_was_cut_short_shows_once() {
    let directory = temporary();
    let run = directory.path().join("run");
    succeed(&small(&run, &["--max-steps", "1", "--tensorboard", "--quiet"]));
    assert!(shown(&run.join("tensorboard")).contains_key(&("val/top1".into(), 1)));
    succeed(&["train", "--resume", text(&run), "--max-steps", "4", "--quiet"]);
    assert_complete(&run);
}

/// The reader notices any broken byte.
#[test]
fn broken_bytes_are_noticed() {
    let directory = temporary();
    let run = directory.path().join("run");
    succeed(&small(&run, &["--max-steps", "1", "--tensorboard", "--quiet"]));
    let (_, bytes) = files(&run.join("tensorboard")).pop().expect("a file");
    assert!(records(&bytes).expect("whole").len() >= 4);
    for i in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[i] ^= 1;
        assert!(records(&broken).is_err(), "byte {i}");
    }
}
