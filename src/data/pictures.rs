//! Image files as networks see them: JPEG, PNG and WebP, resized and cropped.

use crate::error::{Error, Result};
use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, Limits};
use std::path::{Path, PathBuf};

/// Extensions of the files that are looked for in folders.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Bytes that decoding an image may take, at most.
const MOST_BYTES: u64 = 1 << 30;

/// The image files that `paths` name, folders with all that is in them, in alphabetical order.
///
/// # Errors
/// [`Error::Io`] for a path that is not there, [`Error::Data`] for a folder without images.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        let kind = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
        if !kind.is_dir() {
            all.push(path.clone());
            continue;
        }
        let before = all.len();
        walk(path, &mut all)?;
        if all.len() == before {
            return Err(Error::data(
                path,
                "holds no JPEG, PNG or WebP files",
                "Give images, or a folder of them",
            ));
        }
    }
    Ok(all)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(directory).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|e| Error::io("read", directory, e))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().map_err(|e| Error::io("read", entry.path(), e))?);
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_lowercase);
        match extension {
            _ if kind.is_dir() => walk(&path, found)?,
            Some(extension) if EXTENSIONS.contains(&extension.as_str()) => found.push(path),
            _ => {}
        }
    }
    Ok(())
}

/// An image as (3, height, width) bytes: one of that size as it is, others as ImageNet evaluates them, by antialiased bilinear
/// resizing and a crop of the centre. Networks for images of at least 224 see 224 / 256 of the shorter side, others all of it.
/// Whatever the file's colours are, they become RGB; transparency is ignored, as is EXIF orientation.
///
/// # Errors
/// [`Error::Io`], and [`Error::Data`] for a file that is no image.
pub fn read(path: &Path, [height, width]: [usize; 2]) -> Result<Vec<u8>> {
    let broken = |problem: String| Error::data(path, problem, "Give a whole JPEG, PNG or WebP file");
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let mut reader = reader.map_err(|e| Error::io("read", path, e))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    reader.limits(limits);
    let image = reader.decode().map_err(|e| broken(format!("is no image that can be read ({e})")))?;
    let [height, width] = [height, width].map(|side| side as u32);
    let image = if (image.height(), image.width()) == (height, width) {
        image
    } else {
        let short = height.min(width);
        let short = if short >= 224 { short * 256 / 224 } else { short };
        centre(image, short, [height, width])
    };
    let rgb = image.to_rgb8();
    let plane = |channel: usize| rgb.pixels().map(move |pixel| pixel[channel]);
    Ok((0..3).flat_map(plane).collect())
}

/// Resizes the shorter side to `short` and crops the centre.
fn centre(image: DynamicImage, short: u32, [height, width]: [u32; 2]) -> DynamicImage {
    let (w, h) = (u64::from(image.width()), u64::from(image.height()));
    let scaled = |side: u64| (side * u64::from(short) / w.min(h)).clamp(1, u64::from(short) * 64) as u32;
    let [new_w, new_h] = [scaled(w).max(width), scaled(h).max(height)];
    let image = match (new_w, new_h) == (image.width(), image.height()) {
        true => image,
        false => DynamicImage::from(image.to_rgb8()).resize_exact(new_w, new_h, FilterType::Triangle),
    };
    image.crop_imm((new_w - width) / 2, (new_h - height) / 2, width, height)
}
