//! An image folder packed into one file (docs/dataset.md): images decoded and resized once, read through a mapping of memory.

use super::decode::Pixels;
use super::folder::{self, Files, Splits};
use super::loader::in_parallel;
use super::{Dataset, DatasetName, Need, Opening, SIDES, Source, check_side, crop};
use crate::error::{Error, Result};
use crate::files;
use crate::rng::Draws;
use memmap2::Mmap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"SHIFTDAT";
const VERSION: u32 = 1;
/// Bytes before the first image: [`MAGIC`], version, the index's CRC-32, its place and length, zeros, the CRC-32 of all that.
const HEADER: usize = 64;
/// Bytes of an image's entry in the index.
const RECORD: usize = 24;
/// Images that are decoded at once while a file is written.
const AT_ONCE: usize = 256;

const REMEDY: &str = "Pack the image folder again: shiftnet data pack DIR OUT";

/// What the index begins with, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    pub classes: Vec<String>,
    /// Side of the images that networks are fed.
    pub image_size: usize,
    /// Of the images as they are stored.
    pub short_side: usize,
    /// Images of each split.
    pub train: usize,
    pub val: usize,
}

/// An image's entry in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// From the file's beginning.
    offset: u64,
    width: u32,
    height: u32,
    label: u32,
    /// CRC-32 of its pixels.
    crc: u32,
}

impl Piece {
    fn to_bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        for (to, value) in bytes[8..].chunks_exact_mut(4).zip([self.width, self.height, self.label, self.crc])
        {
            to.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Piece {
        let word = |at: usize| u32_at(bytes, at);
        let offset = u64::from(word(0)) | u64::from(word(4)) << 32;
        Piece { offset, width: word(8), height: word(12), label: word(16), crc: word(20) }
    }

    /// Where its pixels end; none where no file is that large.
    fn end(self) -> Option<u64> {
        u64::from(self.width).checked_mul(self.height.into())?.checked_mul(3)?.checked_add(self.offset)
    }
}

/// The number in four bytes that are there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

/// How far the packing is, and what it met.
pub enum Event {
    /// Images that are written, of how many.
    Written(usize, usize),
    /// An image that is left out: what is wrong with it.
    Unreadable(String),
}

/// What became of a folder.
#[derive(Clone, Debug)]
pub struct Packed {
    pub contents: Contents,
    pub bytes: u64,
    /// Images that are left out.
    pub unreadable: usize,
}

/// Packs the image folder `root` into the file `out`, for networks that see images of `side` pixels. Images that cannot be read
/// are left out, or an error where `strict`. The file is written to a temporary name, flushed and renamed. An error of `tell` ends
/// it, and nothing is left.
///
/// # Errors
/// [`Error::Data`] as for the folder, and where no image of a split can be read; [`Error::Image`]; [`Error::Io`].
pub fn write(
    root: &Path,
    out: &Path,
    side: usize,
    strict: bool,
    tell: &mut dyn FnMut(Event) -> Result<()>,
) -> Result<Packed> {
    check_side("--image-size", side)?;
    let need = if root.join("train").is_dir() { Need::TrainAndTest } else { Need::Test };
    let splits = Splits::list(root, &Opening { need, ..Opening::default() }, &folder::read_directory)?;
    files::write_with(out, |file| {
        let packed = write_to(file, out, splits, side, strict, tell)?;
        let Contents { train, val, .. } = packed.contents;
        // The last moment to end it: from here on the file is flushed.
        let all = train + val + packed.unreadable;
        tell(Event::Written(all, all))?;
        if val == 0 || (train == 0 && need == Need::TrainAndTest) {
            let split = root.join(if val == 0 { "val" } else { "train" });
            return Err(Error::data(split, "has no image that can be read", "Give a folder of whole images"));
        }
        Ok(packed)
    })
}

/// Writes to `file`, which is to stand at `path`.
fn write_to(
    file: &mut File,
    path: &Path,
    splits: Splits,
    side: usize,
    strict: bool,
    tell: &mut dyn FnMut(Event) -> Result<()>,
) -> Result<Packed> {
    let failed = |e| Error::io("write", path, e);
    let Splits { classes, train, test } = splits;
    let all = train.len() + test.len();
    let short_side = crop::short_side(side);
    let mut file = BufWriter::with_capacity(1 << 20, file);
    file.write_all(&[0; HEADER]).map_err(failed)?;
    let mut writer =
        Writer { offset: HEADER as u64, records: vec![], seen: 0, all, strict, unreadable: 0, tell };
    let mut counts = [0; 2];
    for (files, count) in [&train, &test].into_iter().zip(&mut counts) {
        *count = writer.split(&mut file, files, short_side, &failed)?;
    }
    let Writer { offset, records, unreadable, .. } = writer;
    let contents = Contents { classes, image_size: side, short_side, train: counts[0], val: counts[1] };
    let json = serde_json::to_vec(&contents).expect("plain data");
    let index = [&(json.len() as u32).to_le_bytes()[..], &json, &records].concat();
    file.write_all(&index).map_err(failed)?;
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&crc32fast::hash(&index).to_le_bytes());
    header[16..24].copy_from_slice(&offset.to_le_bytes());
    header[24..32].copy_from_slice(&(index.len() as u64).to_le_bytes());
    let crc = crc32fast::hash(&header[..HEADER - 4]);
    header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.write_all(&header).map_err(failed)?;
    file.flush().map_err(failed)?;
    Ok(Packed { contents, bytes: offset + index.len() as u64, unreadable })
}

struct Writer<'a> {
    /// Of the next image.
    offset: u64,
    records: Vec<u8>,
    seen: usize,
    all: usize,
    strict: bool,
    unreadable: usize,
    tell: &'a mut dyn FnMut(Event) -> Result<()>,
}

impl Writer<'_> {
    /// Writes a split's images; returns how many.
    fn split(
        &mut self,
        file: &mut impl Write,
        files: &Files,
        short_side: usize,
        failed: &dyn Fn(std::io::Error) -> Error,
    ) -> Result<usize> {
        let mut count = 0;
        for first in (0..files.len()).step_by(AT_ONCE) {
            let indices = first..files.len().min(first + AT_ONCE);
            let fitted = |index| {
                let (image, label) = files.read(index)?;
                let image = crop::fit(&image, short_side);
                let crc = crc32fast::hash(&image.bytes);
                Ok((image, label, crc))
            };
            let images: Vec<Result<(Pixels, u32, u32)>> =
                in_parallel(|| indices.into_par_iter().map(fitted).collect());
            for image in images {
                self.seen += 1;
                let (image, label, crc) = match image {
                    Err(error @ Error::Image { .. }) if !self.strict => {
                        self.unreadable += 1;
                        (self.tell)(Event::Unreadable(error.to_string()))?;
                        continue;
                    }
                    image => image?,
                };
                file.write_all(&image.bytes).map_err(failed)?;
                let [width, height] = [image.width, image.height].map(|side| side as u32);
                self.records.extend(Piece { offset: self.offset, width, height, label, crc }.to_bytes());
                self.offset += image.bytes.len() as u64;
                count += 1;
            }
            (self.tell)(Event::Written(self.seen, self.all))?;
        }
        Ok(count)
    }
}

/// A packed file, its index checked.
struct Pack {
    path: PathBuf,
    map: Mmap,
    contents: Contents,
    /// Where the records begin.
    records: usize,
}

impl Pack {
    /// Opens a file and checks its index, not its images.
    fn open(path: &Path) -> Result<Pack> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        // SAFETY: a mapping is only as good as the file behind it. One that another program changes while it is read fails its
        // checksums; one that is cut ends the program.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("read", path, e))?;
        match check(&map) {
            Ok((contents, records)) => Ok(Pack { path: path.into(), map, contents, records }),
            Err(problem) => Err(Error::data(path, problem, REMEDY)),
        }
    }

    fn piece(&self, index: usize) -> Piece {
        Piece::from_bytes(&self.map[self.records + index * RECORD..][..RECORD])
    }

    /// Image `index` of all, and its label, once its pixels match their checksum.
    fn read(&self, index: usize) -> Result<(Pixels<'_>, u32)> {
        let piece = self.piece(index);
        // The index was checked when the file was opened, but another program may have written to it since.
        let bytes = piece.end().and_then(|end| self.map.get(piece.offset as usize..end as usize));
        let Some(bytes) = bytes.filter(|bytes| crc32fast::hash(bytes) == piece.crc) else {
            let problem = format!("is damaged: image {index} does not match its checksum");
            return Err(Error::data(&self.path, problem, REMEDY));
        };
        let [width, height] = [piece.width, piece.height].map(|side| side as usize);
        Ok((Pixels { width, height, bytes: bytes.into() }, piece.label))
    }
}

/// Whether `path` is a packed dataset, intact or not.
pub fn is_file(path: &Path) -> bool {
    let mut first = [0; MAGIC.len()];
    path.is_file()
        && File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok()
        && first == *MAGIC
}

/// What is in the file `bytes`, and where the images' records begin.
fn check(bytes: &[u8]) -> Result<(Contents, usize), String> {
    if !bytes.starts_with(MAGIC) {
        return Err("is neither a folder nor a file of `shiftnet data pack`".into());
    }
    let truncated = "is truncated";
    let header = bytes.get(..HEADER).ok_or(truncated)?;
    if crc32fast::hash(&header[..HEADER - 4]) != u32_at(header, HEADER - 4) {
        return Err("is damaged: its header does not match its checksum".into());
    }
    let version = u32_at(header, 8);
    if version != VERSION {
        return Err(format!("is of version {version}, but this program reads {VERSION}"));
    }
    let place = |at: usize| u64::from(u32_at(header, at)) | u64::from(u32_at(header, at + 4)) << 32;
    let (begin, len) = (place(16), place(24));
    let end = begin.checked_add(len).ok_or(truncated)?;
    if end != bytes.len() as u64 {
        let problem = if end > bytes.len() as u64 { truncated } else { "is longer than it was written" };
        return Err(format!("{problem}: it has {} bytes, not {end}", bytes.len()));
    }
    let index = bytes.get(begin as usize..).filter(|index| index.len() >= 4).ok_or(truncated)?;
    if crc32fast::hash(index) != u32_at(header, 12) {
        return Err("is damaged: its index does not match its checksum".into());
    }
    contents(index, begin)
}

/// What an index says, which ends at the file's end; images are before `begin`.
fn contents(index: &[u8], begin: u64) -> Result<(Contents, usize), String> {
    let inconsistent = || "has an index that is not consistent".to_string();
    let json = index[4..].get(..u32_at(index, 0) as usize).ok_or_else(inconsistent)?;
    let contents: Contents =
        serde_json::from_slice(json).map_err(|e| format!("has an index that cannot be understood ({e})"))?;
    let records = &index[4 + json.len()..];
    let images = contents.train.checked_add(contents.val).and_then(|images| images.checked_mul(RECORD));
    if images != Some(records.len()) {
        return Err(inconsistent());
    }
    if !SIDES.contains(&contents.image_size) {
        return Err(format!("is for images of {0} x {0}, which no network sees", contents.image_size));
    }
    let whole = |piece: Piece| {
        piece.offset >= HEADER as u64
            && piece.end().is_some_and(|end| end <= begin)
            && piece.width > 0
            && piece.height > 0
            && (piece.label as usize) < contents.classes.len()
    };
    match records.chunks_exact(RECORD).map(Piece::from_bytes).all(whole) {
        true => Ok((contents, begin as usize + 4 + json.len())),
        false => Err(inconsistent()),
    }
}

/// Opens a packed file as a dataset.
///
/// # Errors
/// [`Error::Data`] for a file that is foreign, truncated or damaged, has no images of a split that is needed, or was packed for
/// smaller images than are asked for.
pub(super) fn open(path: &Path, opening: &Opening) -> Result<Source> {
    let pack = Arc::new(Pack::open(path)?);
    let Contents { classes, image_size, train, val, .. } = pack.contents.clone();
    let side = opening.image_size.unwrap_or(image_size);
    if side > image_size {
        let problem = format!("was packed for images of {image_size} pixels, but --image-size is {side}");
        return Err(Error::data(path, problem, "Leave --image-size out, or pack the folder for that size"));
    }
    if val == 0 || (train == 0 && opening.need == Need::TrainAndTest) {
        let split = if val == 0 { "val" } else { "train" };
        return Err(Error::data(path, format!("has no images of {split}"), REMEDY));
    }
    let labels = labels(path, &classes, opening.classes)?;
    let train = if opening.need == Need::Test { 0 } else { train };
    let part = |first, len| Arc::new(Part { pack: pack.clone(), first, len, side, labels: labels.clone() });
    Ok(Source {
        name: DatasetName::ImageFolder,
        train: part(0, train),
        test: part(pack.contents.train, val),
        input: folder::input(opening.classes.map_or(classes, <[String]>::to_vec), side),
        notes: vec![],
    })
}

/// The number of each of the file's classes among `wanted`.
fn labels(path: &Path, classes: &[String], wanted: Option<&[String]>) -> Result<Arc<[u32]>> {
    let Some(wanted) = wanted.filter(|wanted| *wanted != classes) else {
        return Ok((0..classes.len() as u32).collect());
    };
    let number = |class: &String| match wanted.iter().position(|wanted| wanted == class) {
        Some(number) => Ok(number as u32),
        None => {
            let problem =
                format!("has images of {class}, which is no class of the {} of the network", wanted.len());
            Err(Error::data(path, problem, "Give the data that the network was trained on"))
        }
    };
    classes.iter().map(number).collect()
}

/// A split's images.
struct Part {
    pack: Arc<Pack>,
    first: usize,
    len: usize,
    side: usize,
    /// By the file's own.
    labels: Arc<[u32]>,
}

impl Dataset for Part {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32> {
        let (image, label) = self.pack.read(self.first + index)?;
        crop::evaluate(&image, [self.side; 2], pixels);
        Ok(self.labels[label as usize])
    }

    fn varies(&self) -> bool {
        true
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(self.labels[self.pack.piece(self.first + index).label as usize])
    }

    fn read_varied(&self, index: usize, mut draws: Draws, pixels: &mut [u8]) -> Result<u32> {
        let (image, label) = self.pack.read(self.first + index)?;
        crop::vary(&image, self.side, &mut draws, pixels);
        Ok(self.labels[label as usize])
    }
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
