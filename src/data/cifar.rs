//! CIFAR-10's binary version (Krizhevsky 2009): records of a label byte and 3,072 bytes, planes R, G, B.

use super::{DatasetName, InMemory, Input, Need, Source};
use crate::error::{Error, Result};
use md5::{Digest, Md5};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const IMAGE: usize = 3 * 32 * 32;
const RECORD: usize = 1 + IMAGE;
/// Bytes of an official batch: 10,000 records.
const OFFICIAL: usize = 10_000 * RECORD;

/// The classes' names, in the order of the labels (`batches.meta.txt`).
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The official files and their md5 sums; the last holds the test images.
const FILES: [(&str, &str); 6] = [
    ("data_batch_1.bin", "5dd7e06a14cb22eb9f671a540d1b7c25"),
    ("data_batch_2.bin", "5ea93a67294ea407fff1d09f752e9692"),
    ("data_batch_3.bin", "942cd6a4bcdd0dd3c604fbe906cb4421"),
    ("data_batch_4.bin", "ae636b3ba5c66a11e91e8cb52e771fcb"),
    ("data_batch_5.bin", "53f37980c15c3d472c316c40844f3f0d"),
    ("test_batch.bin", "803d5f7f4d78ea53de84dbe85f74fb6d"),
];

const ORIGIN: &str = "CIFAR-10's binary version is cifar-10-binary.tar.gz (md5 \
    c32a1d4ab5d03f1284b67883e8d87530) from www.cs.toronto.edu/~kriz/cifar.html; give its path, or that of the \
    directory it unpacks to, with --data";

/// What its networks are fed.
pub fn input() -> Input {
    Input {
        classes: CLASSES.map(String::from).to_vec(),
        image: [32, 32],
        mean: [0.4914, 0.4822, 0.4465],
        std: [0.2470, 0.2435, 0.2616],
    }
}

/// Opens a directory of the binary batches, or the archive itself.
///
/// # Errors
/// [`Error::Data`] names the file, what was expected, and where CIFAR-10 comes from.
pub fn open(data: Option<&Path>, need: Need) -> Result<Source> {
    let path = data.ok_or_else(|| Error::Usage(format!("--dataset cifar10 needs --data. {ORIGIN}.")))?;
    let files: &[_] = if need == Need::Test { &FILES[5..] } else { &FILES };
    let kind =
        std::fs::metadata(path).map_err(|e| Error::data(path, format!("cannot be read: {e}"), ORIGIN))?;
    let contents = if kind.is_dir() { from_directory(path, files)? } else { from_archive(path, files)? };
    let mut notes = Vec::new();
    let mut parts =
        [InMemory { pixels: vec![], labels: vec![] }, InMemory { pixels: vec![], labels: vec![] }];
    for ((name, md5), (path, bytes)) in files.iter().zip(contents) {
        check(&path, &bytes, md5)?;
        let records = bytes.len() / RECORD;
        if records < 10_000 {
            notes.push(format!("{} holds {records} images, not 10,000", path.display()));
        }
        let part = &mut parts[usize::from(*name == "test_batch.bin")];
        for record in bytes.chunks_exact(RECORD) {
            part.labels.push(record[0]);
            part.pixels.extend_from_slice(&record[1..]);
        }
    }
    let [train, test] = parts;
    Ok(Source {
        name: DatasetName::Cifar10,
        input: input(),
        train: Arc::new(train),
        test: Arc::new(test),
        notes,
    })
}

type Contents = Vec<(PathBuf, Vec<u8>)>;

/// The batches in `directory`, or in the folder that the archive unpacks to below it.
fn from_directory(directory: &Path, files: &[(&str, &str)]) -> Result<Contents> {
    let inner = directory.join("cifar-10-batches-bin");
    let directory = if inner.is_dir() { &inner } else { directory };
    let read = |(name, _): &(&str, &str)| {
        let path = directory.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok((path, bytes)),
            Err(e) => Err(Error::data(&path, format!("cannot be read: {e}"), ORIGIN)),
        }
    };
    files.iter().map(read).collect()
}

/// The batches in the archive `path`.
fn from_archive(path: &Path, files: &[(&str, &str)]) -> Result<Contents> {
    let foreign = |e: std::io::Error| {
        Error::data(path, format!("is neither a directory nor cifar-10-binary.tar.gz, whole ({e})"), ORIGIN)
    };
    let file = File::open(path).map_err(|e| Error::data(path, format!("cannot be read: {e}"), ORIGIN))?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::io::BufReader::new(file)));
    let mut found: Vec<Option<(PathBuf, Vec<u8>)>> = files.iter().map(|_| None).collect();
    for entry in archive.entries().map_err(foreign)? {
        let mut entry = entry.map_err(foreign)?;
        let inside = entry.path().map_err(foreign)?.into_owned();
        let name = inside.file_name().and_then(|name| name.to_str());
        let Some(at) = files.iter().position(|(file, _)| Some(*file) == name) else { continue };
        let mut bytes = Vec::new();
        entry.by_ref().take(OFFICIAL as u64 + 1).read_to_end(&mut bytes).map_err(foreign)?;
        found[at] = Some((path.join(inside), bytes));
    }
    // The checksum of the whole lies behind the last entry.
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink()).map_err(foreign)?;
    let missing = |(file, contents): (&(&str, &str), Option<_>)| {
        contents.ok_or_else(|| Error::data(path, format!("holds no {}", file.0), ORIGIN))
    };
    files.iter().zip(found).map(missing).collect()
}

/// Whole records, labels 0 to 9, and the published sum where the size is the official one.
fn check(path: &Path, bytes: &[u8], md5: &str) -> Result<()> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
        let problem = format!(
            "has {} bytes, but a batch is a whole number of {RECORD}-byte records, {OFFICIAL} bytes in the official files",
            bytes.len()
        );
        return Err(Error::data(path, problem, ORIGIN));
    }
    if let Some((record, label)) = bytes.iter().step_by(RECORD).enumerate().find(|(_, label)| **label > 9) {
        let problem =
            format!("label {label} of image {record} is not in 0 to 9: this is not a CIFAR-10 batch");
        return Err(Error::data(path, problem, ORIGIN));
    }
    if bytes.len() == OFFICIAL {
        let sum: String = Md5::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        if sum != md5 {
            let problem =
                format!("has md5 {sum}, but the official file has {md5}: it is damaged or another file");
            return Err(Error::data(path, problem, ORIGIN));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(records: usize) -> Vec<u8> {
        (0..records * RECORD)
            .map(|i| if i % RECORD == 0 { (i / RECORD % 10) as u8 } else { (i % 251) as u8 })
            .collect()
    }

    fn directory(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, bytes) in files {
            std::fs::write(directory.path().join(name), bytes).expect("a small file");
        }
        directory
    }

    #[test]
    fn a_short_batch_gives_a_note() {
        let dir = directory(&[("test_batch.bin", batch(12))]);
        let source = open(Some(dir.path()), Need::Test).expect("a valid batch");
        assert_eq!((source.test.len(), source.train.len(), source.notes.len()), (12, 0, 1));
        let mut pixels = vec![0; IMAGE];
        assert_eq!(source.test.read(11, &mut pixels).expect("in range"), 1);
        assert_eq!(pixels, batch(12)[11 * RECORD + 1..]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut labels = batch(3);
        labels[RECORD] = 10;
        let mut official = batch(10_000);
        official[5] ^= 1;
        let cases = [
            (vec![], "has 0 bytes"),
            (batch(2)[1..].to_vec(), "3073-byte records"),
            (labels, "label 10 of image 1"),
            (official, "md5"),
        ];
        for (bytes, expected) in cases {
            let dir = directory(&[("test_batch.bin", bytes)]);
            let message = open(Some(dir.path()), Need::Test).err().expect(expected).to_string();
            assert!(message.contains(expected) && message.contains("test_batch.bin"), "{message}");
            assert!(message.contains("cifar-10-binary.tar.gz"), "{message}");
        }
        let dir = directory(&[("test_batch.bin", batch(1))]);
        let message = open(Some(dir.path()), Need::TrainAndTest).err().expect("no data_batch_1").to_string();
        assert!(message.contains("data_batch_1.bin"), "{message}");
        assert!(open(None, Need::Test).err().expect("no path").exit_code() == 2);
    }

    #[test]
    fn the_archive_reads_like_the_directory() {
        let mut builder =
            tar::Builder::new(flate2::write::GzEncoder::new(vec![], flate2::Compression::fast()));
        for (name, _) in FILES {
            let bytes = batch(7);
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            builder
                .append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &bytes[..])
                .expect("in memory");
        }
        let archive = builder.into_inner().expect("tar").finish().expect("gzip");
        let dir = directory(&[
            ("all.tar.gz", archive.clone()),
            ("cut.tar.gz", archive[..archive.len() / 2].to_vec()),
            // Without the end of gzip's checksum and length, which no entry's reader looks at.
            ("end.tar.gz", archive[..archive.len() - 4].to_vec()),
        ]);
        let source = open(Some(&dir.path().join("all.tar.gz")), Need::TrainAndTest).expect("a valid archive");
        assert_eq!((source.train.len(), source.test.len()), (35, 7));
        for name in ["cut.tar.gz", "end.tar.gz"] {
            let message =
                open(Some(&dir.path().join(name)), Need::TrainAndTest).err().expect("cut").to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
