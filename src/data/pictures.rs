//! Image files as networks see them: JPEG, PNG and WebP, resized and cropped.

use super::crop;
use super::decode::{Pixels, decode};
use crate::error::{Error, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Extensions of the files that are looked for in folders.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// The image files that `paths` name, folders with all that is in them but what is hidden, in alphabetical order.
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
        if is_hidden(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        let image = is_image(&path.to_string_lossy());
        let kind = entry.file_type().map_err(|e| Error::io("read", &path, e))?;
        // As datasets are listed: a link is followed where it leads to a folder.
        if kind.is_dir() || (kind.is_symlink() && !image && path.is_dir()) {
            walk(&path, found)?;
        } else if image {
            found.push(path);
        }
    }
    Ok(())
}

/// An image as (3, height, width) bytes: one of that size as it is, others as [`crop::evaluate`] has them. Whatever the file's
/// colours are, they become RGB; transparency is ignored, as is EXIF orientation.
///
/// # Errors
/// [`Error::Io`], and [`Error::Image`] for a file that is no image, or whose sides are longer than 65,535.
pub fn read(path: &Path, [height, width]: [usize; 2]) -> Result<Vec<u8>> {
    let image = open(path)?;
    let mut planes = vec![0; 3 * height * width];
    match (image.height, image.width) == (height, width) {
        true => crop::whole(&image, &mut planes),
        false => crop::evaluate(&image, [height, width], &mut planes),
    }
    Ok(planes)
}

/// All of the image in a file.
///
/// # Errors
/// [`Error::Io`], and [`Error::Image`] for a file that is no whole image.
pub fn open(path: &Path) -> Result<Pixels<'static>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    decode(&bytes).map_err(|problem| Error::Image {
        path: path.into(),
        problem: format!("is no image that can be read ({problem})"),
        remedy: "Give a whole JPEG, PNG or WebP file".into(),
    })
}

/// Whether a file's name is one of an image.
pub fn is_image(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}

/// Whether a directory's entry is one that programs put there for themselves: `._a.jpg` beside `a.jpg`, where macOS wrote to
/// a disk of another system, `.ipynb_checkpoints`.
pub fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    fn saved(directory: &Path, name: &str, image: &RgbImage) -> PathBuf {
        let path = directory.join(name);
        image.save(&path).expect("a small image");
        path
    }

    #[test]
    fn images_of_the_networks_size_are_taken_as_they_are() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let image = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, 10 + y as u8, 200 - x as u8]));
        let path = saved(directory.path(), "a.png", &image);
        let planes = [[0, 1, 2, 0, 1, 2], [10, 10, 10, 11, 11, 11], [200, 199, 198, 200, 199, 198]];
        assert_eq!(read(&path, [2, 3]).expect("an image"), planes.concat());
    }

    /// The shorter side is fitted and the centre of the longer one kept; at 224 and above, a margin of both is cut off.
    #[test]
    fn others_are_fitted_and_cropped() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Dark, then 40 columns of light in the middle of 120.
        let stripes =
            RgbImage::from_fn(120, 40, |x, _| Rgb([if (40..80).contains(&x) { 250 } else { 5 }; 3]));
        let path = saved(directory.path(), "stripes.png", &stripes);
        let pixels = read(&path, [20, 20]).expect("an image");
        assert_eq!(pixels.len(), 3 * 400);
        // The resizing looks a pixel across the edge.
        assert!(pixels.chunks_exact(20).all(|row| row[1..19].iter().all(|&v| v == 250)), "{pixels:?}");

        let framed = RgbImage::from_fn(512, 512, |x, y| {
            let inside = |v| (40..472).contains(&v);
            Rgb([if inside(x) && inside(y) { 90 } else { 0 }; 3])
        });
        let path = saved(directory.path(), "framed.png", &framed);
        // 224 of 256 is from 32 to 480 of 512: a frame of 4 pixels is left.
        let pixels = read(&path, [224, 224]).expect("an image");
        let row = &pixels[100 * 224..101 * 224];
        assert!(row[..3].iter().all(|&v| v == 0) && row[6..218].iter().all(|&v| v == 90), "{row:?}");

        // A network's images need not be square: the aspect is kept.
        let pixels = read(&saved(directory.path(), "wide.png", &stripes), [20, 10]).expect("an image");
        assert!(pixels.iter().all(|&v| v == 250), "{pixels:?}");

        // A strip whose every pixel is 32 after the resizing: nothing far outside the crop is resized.
        let strip = RgbImage::from_fn(60_000, 1, |x, _| Rgb([if x == 30_000 { 200 } else { 60 }; 3]));
        let pixels = read(&saved(directory.path(), "strip.png", &strip), [32, 32]).expect("an image");
        assert!(pixels.len() == 3072 && pixels.iter().any(|&v| v > 60));

        let line = saved(directory.path(), "line.png", &RgbImage::from_pixel(1, 3000, Rgb([7, 8, 9])));
        let expected = [[7u8; 1024], [8; 1024], [9; 1024]].concat();
        assert_eq!(read(&line, [32, 32]).expect("an image"), expected);
    }

    #[test]
    fn folders_are_searched_in_order() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path();
        for new in ["b/deep", ".thumbnails"] {
            std::fs::create_dir_all(root.join(new)).expect("a new directory");
        }
        let dot = RgbImage::from_pixel(1, 1, Rgb([1, 2, 3]));
        for name in ["c.png", "b/deep/x.png", "b/a.png", "b/._a.png", ".thumbnails/c.png"] {
            saved(root, name, &dot);
        }
        std::fs::write(root.join("b/readme.md"), "text").expect("a small file");
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.join("b/deep"), root.join("b/link")).expect("a link");
        let found = files(&[root.to_path_buf()]).expect("a folder with images");
        let inside = |path: &PathBuf| path.strip_prefix(root).expect("inside").display().to_string();
        let names: Vec<String> =
            found.iter().map(|path| inside(path).replace(std::path::MAIN_SEPARATOR, "/")).collect();
        assert_eq!(
            names,
            [
                "b/a.png",
                "b/deep/x.png",
                #[cfg(unix)]
                "b/link/x.png",
                "c.png"
            ]
        );
    }
}
