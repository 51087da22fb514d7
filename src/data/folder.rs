//! Folders of images in ImageNet's layout: `train/<class>/…` and `val/<class>/…`, listed as torchvision's ImageFolder lists them,
//! but for hidden files and folders, which are no images and no classes.

use super::decode::Pixels;
use super::{Dataset, DatasetName, Input, Need, Opening, Source, crop, pack, pictures};
use crate::data::loader::in_parallel;
use crate::error::{Error, Result};
use crate::rng::Draws;
use rayon::prelude::*;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Sides of a network's images where nothing says another.
pub const SIDE: usize = 224;

const LAYOUT: &str = "An image folder has train/<class>/ and val/<class>/ with JPEG, PNG or WebP files; what is given must be one, \
    or a file that `shiftnet data pack` made of one";

/// What networks for images of `classes` are fed: ImageNet's normalization.
pub(super) fn input(classes: Vec<String>, side: usize) -> Input {
    Input { classes, image: [side; 2], mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
}

/// Opens a folder, or the file that was packed of one.
///
/// # Errors
/// [`Error::Data`] names the folder and what it lacks, or the first class that training does not have; [`Error::Usage`]
/// without a path.
pub fn open(opening: &Opening) -> Result<Source> {
    let path = opening
        .data
        .ok_or_else(|| Error::Usage(format!("--dataset image-folder needs --data. {LAYOUT}.")))?;
    let kind =
        std::fs::metadata(path).map_err(|e| Error::data(path, format!("cannot be read: {e}"), LAYOUT))?;
    if !kind.is_dir() {
        return pack::open(path, opening);
    }
    let Splits { classes, train, test } = Splits::list(path, opening, &read_directory)?;
    let side = opening.image_size.unwrap_or(SIDE);
    let mut notes = Vec::new();
    if test.runs.len() < classes.len() {
        notes.push(format!(
            "{} has images of {} of {} classes",
            test.root.display(),
            test.runs.len(),
            classes.len()
        ));
    }
    let images = |files| Arc::new(Images { files, side });
    Ok(Source {
        name: DatasetName::ImageFolder,
        input: input(classes, side),
        train: images(train),
        test: images(test),
        notes,
    })
}

/// A split's images.
struct Images {
    files: Files,
    side: usize,
}

impl Dataset for Images {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32> {
        let (image, label) = self.files.read(index)?;
        crop::evaluate(&image, [self.side; 2], pixels);
        Ok(label)
    }

    fn varies(&self) -> bool {
        true
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(self.files.run(index).1)
    }

    fn read_varied(&self, index: usize, mut draws: Draws, pixels: &mut [u8]) -> Result<u32> {
        let (image, label) = self.files.read(index)?;
        crop::vary(&image, self.side, &mut draws, pixels);
        Ok(label)
    }
}

/// An entry of a directory.
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
}

/// What tells the entries of a directory, in any order.
pub type List<'a> = &'a (dyn Fn(&Path) -> Result<Vec<Entry>> + Sync);

/// The entries of a directory on disk, without the hidden ones. What kind they are is read with their names: no file is looked at,
/// but for links that may lead to directories.
///
/// # Errors
/// [`Error::Data`] for a directory that cannot be read, and a name that is not UTF-8.
pub fn read_directory(directory: &Path) -> Result<Vec<Entry>> {
    let unreadable = |e: io::Error| Error::data(directory, format!("cannot be read: {e}"), LAYOUT);
    let entry = |entry: io::Result<std::fs::DirEntry>| {
        let entry = entry.map_err(unreadable)?;
        let kind = entry.file_type().map_err(unreadable)?;
        let name = entry.file_name();
        let special = !(kind.is_file() || kind.is_dir() || kind.is_symlink());
        if special || pictures::is_hidden(&name) {
            // From a pipe, a reader would wait for an image.
            return Ok(None);
        }
        let name = name.into_string().map_err(|name| {
            let problem = format!("holds {name:?}, whose name is not UTF-8");
            Error::data(directory, problem, "Give the file another name")
        })?;
        let leads_to_directory = || !pictures::is_image(&name) && entry.path().is_dir();
        let is_dir = kind.is_dir() || (kind.is_symlink() && leads_to_directory());
        Ok(Some(Entry { name, is_dir }))
    };
    let entries = std::fs::read_dir(directory).map_err(unreadable)?.map(entry);
    entries.filter_map(Result::transpose).collect()
}

/// The files of both splits.
pub(super) struct Splits {
    pub classes: Vec<String>,
    /// Empty where only the test images were asked for.
    pub train: Files,
    pub test: Files,
}

impl Splits {
    /// Lists what `opening` needs of the folder `root`. The classes are those it names, else the folders in `train`, else those
    /// in `val`.
    pub fn list(root: &Path, opening: &Opening, list: List) -> Result<Splits> {
        let [train, val] = ["train", "val"].map(|split| root.join(split));
        let entries = list(root)?;
        let has = |name: &str| entries.iter().any(|entry| entry.is_dir && entry.name == name);
        let needed: &[&str] = if opening.need == Need::Test { &["val"] } else { &["train", "val"] };
        if let Some(missing) = needed.iter().find(|split| !has(split)) {
            return Err(Error::data(root, format!("has no folder {missing}"), LAYOUT));
        }
        let folders = folders(if has("train") { &train } else { &val }, list)?;
        let classes = opening.classes.map_or(folders, <[String]>::to_vec);
        let test = Files::list(val, &classes, list)?;
        let train = match opening.need {
            Need::Test => Files { root: train, ..Files::default() },
            Need::TrainAndTest => Files::list(train, &classes, list)?,
        };
        Ok(Splits { classes, train, test })
    }
}

/// The names of the folders in `directory`, sorted.
fn folders(directory: &Path, list: List) -> Result<Vec<String>> {
    let mut names: Vec<String> =
        list(directory)?.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect();
    names.sort_unstable();
    match names.is_empty() {
        true => Err(Error::data(directory, "has no class folders", LAYOUT)),
        false => Ok(names),
    }
}

/// Whether what is wrong with a file says nothing of the others.
fn is_of_file(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), NotFound | PermissionDenied | IsADirectory)
}

/// The image files in class folders, in the order of classes and names.
#[derive(Default)]
pub(super) struct Files {
    root: PathBuf,
    /// The classes that have images: the first image's number, the label, the folder.
    runs: Vec<(usize, u32, String)>,
    /// Paths below the class folders, one behind the other, and where each ends.
    names: String,
    ends: Vec<usize>,
}

impl Files {
    /// Lists the images below `root`, in the classes' folders and in those within them.
    fn list(root: PathBuf, classes: &[String], list: List) -> Result<Files> {
        let labels: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
        let folders = folders(&root, list)?;
        if let Some(foreign) = folders.iter().find(|folder| !labels.contains_key(folder.as_str())) {
            let problem = format!("is no class of the {} that are trained on", classes.len());
            let remedy = "Each folder in val has to be named as one in train (or as a class of the network)";
            return Err(Error::data(root.join(foreign), problem, remedy));
        }
        let names = |folder: &String| names(&root.join(folder), list);
        let found: Vec<Result<Vec<String>>> = in_parallel(|| folders.par_iter().map(names).collect());
        let mut files = Files { root: root.clone(), ..Files::default() };
        for (folder, names) in folders.into_iter().zip(found) {
            let names = names?;
            if names.is_empty() {
                return Err(Error::data(root.join(folder), "holds no JPEG, PNG or WebP files", LAYOUT));
            }
            files.runs.push((files.ends.len(), labels[folder.as_str()], folder));
            for name in names {
                files.names += &name;
                files.ends.push(files.names.len());
            }
        }
        Ok(files)
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The run that image `index` is in.
    fn run(&self, index: usize) -> &(usize, u32, String) {
        &self.runs[self.runs.partition_point(|(first, ..)| *first <= index) - 1]
    }

    /// The label of image `index`, and its file.
    pub fn get(&self, index: usize) -> (u32, PathBuf) {
        let (_, label, folder) = self.run(index);
        let begin = if index == 0 { 0 } else { self.ends[index - 1] };
        (*label, self.root.join(folder).join(&self.names[begin..self.ends[index]]))
    }

    /// All of image `index`, and its label.
    pub fn read(&self, index: usize) -> Result<(Pixels<'static>, u32)> {
        let (label, path) = self.get(index);
        let image = pictures::open(&path).map_err(|error| match error {
            Error::Io { path, source, .. } if is_of_file(&source) => Error::Image {
                path,
                problem: format!("cannot be opened ({source})"),
                remedy: "Restore the file, or remove it".into(),
            },
            error => error,
        })?;
        Ok((image, label))
    }
}

/// The image files below `directory`, as paths from it: its own by name, then those of each folder below it, by its path.
fn names(directory: &Path, list: List) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let mut files = Vec::new();
        for Entry { name, is_dir } in list(&directory.join(&folder))? {
            match is_dir {
                true => folders.push(format!("{folder}{name}/")),
                false if pictures::is_image(&name) => files.push(name),
                false => {}
            }
        }
        files.sort_unstable();
        all.push((folder, files));
    }
    // Without the slash at their ends, as the folders' own names are compared.
    all.sort_unstable_by(|(a, _), (b, _)| a.trim_end_matches('/').cmp(b.trim_end_matches('/')));
    if let [(_, files)] = &mut all[..] {
        return Ok(std::mem::take(files));
    }
    let path =
        |(folder, files): (String, Vec<String>)| files.into_iter().map(move |file| format!("{folder}{file}"));
    Ok(all.into_iter().flat_map(path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    fn opening(path: &Path, need: Need) -> Opening<'_> {
        Opening { data: Some(path), need, image_size: Some(8), ..Opening::default() }
    }

    /// A folder with an image of one colour at each of `paths`, its red value the path's number.
    fn folder(paths: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (i, path) in paths.iter().enumerate() {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().expect("in a folder")).expect("a new folder");
            RgbImage::from_pixel(9, 8, Rgb([i as u8, 100, 200])).save(path).expect("a small image");
        }
        directory
    }

    #[test]
    fn images_come_by_class_then_by_name() {
        let paths = ["train/b/z.png", "train/a/2.png", "train/a/10.png", "train/a-b/x.PNG", "val/b/v.png"];
        let directory = folder(&paths);
        std::fs::write(directory.path().join("train/a/notes.txt"), "text").expect("a small file");
        std::fs::write(directory.path().join("train/README"), "text").expect("a small file");
        std::fs::write(directory.path().join("train/a/._2.png"), "what macOS writes").expect("a small file");
        std::fs::create_dir(directory.path().join("train/.ipynb_checkpoints")).expect("a new folder");
        let source = open(&opening(directory.path(), Need::TrainAndTest)).expect("a good folder");
        assert_eq!(source.input.classes, ["a", "a-b", "b"]);
        assert_eq!((source.input.image, source.input.mean[0]), ([8, 8], 0.485));
        assert_eq!(source.notes.len(), 1, "{:?}", source.notes);
        let read = |dataset: &Arc<dyn Dataset>, index| {
            let mut pixels = vec![0; 3 * 64];
            let label = dataset.read(index, &mut pixels).expect("an image");
            assert_eq!(pixels[64..], [[100; 64], [200; 64]].concat());
            (label, pixels[0])
        };
        let train: Vec<_> = (0..source.train.len()).map(|i| read(&source.train, i)).collect();
        assert_eq!(train, [(0, 2), (0, 1), (1, 3), (2, 0)]);
        assert_eq!((source.test.len(), read(&source.test, 0)), (1, (2, 4)));
        // An evaluation needs no training images, but takes their classes where they are.
        let source = open(&opening(directory.path(), Need::Test)).expect("a good folder");
        assert_eq!((source.train.len(), read(&source.test, 0)), (0, (2, 4)));
        std::fs::remove_dir_all(directory.path().join("train")).expect("it is there");
        let source = open(&opening(directory.path(), Need::Test)).expect("a good folder");
        assert_eq!((source.input.classes.len(), read(&source.test, 0)), (1, (0, 4)));
        // A network's own classes are numbered as it does.
        let classes = ["b", "a"].map(String::from);
        let opening = Opening { classes: Some(&classes), ..opening(directory.path(), Need::Test) };
        assert_eq!(read(&open(&opening).expect("a good folder").test, 0), (0, 4));
    }

    /// As Python's sorted(os.walk()) has them: a folder's own files first, and `a` before `a-b` before `a/b`.
    #[test]
    fn folders_within_classes_are_searched() {
        let directory =
            folder(&["c/b/1.png", "c/z.png", "c/a/b/2.png", "c/a/3.png", "c/a-b/4.png", "c/B.png"]);
        let found = names(&directory.path().join("c"), &read_directory).expect("a good folder");
        assert_eq!(found, ["B.png", "z.png", "a/3.png", "a-b/4.png", "a/b/2.png", "b/1.png"]);
    }

    #[test]
    #[cfg(unix)]
    fn links_are_followed() {
        let directory = folder(&["real/one.png", "val/c/two.png"]);
        let root = directory.path();
        std::os::unix::fs::symlink(root.join("real"), root.join("val/linked")).expect("a link");
        std::os::unix::fs::symlink(root.join("real/one.png"), root.join("val/c/three.png")).expect("a link");
        let source = open(&opening(root, Need::Test)).expect("a good folder");
        assert_eq!((source.input.classes.len(), source.test.len()), (2, 3));
        let mut pixels = vec![0; 3 * 64];
        assert_eq!((source.test.read(2, &mut pixels).expect("an image"), pixels[0]), (1, 0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |root: &Path, need, expected: &[&str]| {
            let message = open(&opening(root, need)).err().expect("it is wrong").to_string();
            assert!(expected.iter().all(|part| message.contains(part)), "{message}");
        };
        let directory = folder(&["val/a/1.png", "val/x/2.png", "val/y/3.png"]);
        let root = directory.path();
        refused(root, Need::TrainAndTest, &["has no folder train", "train/<class>/"]);
        std::fs::create_dir(root.join("train")).expect("a new folder");
        refused(root, Need::TrainAndTest, &["train", "has no class folders"]);
        std::fs::create_dir(root.join("train/a")).expect("a new folder");
        refused(root, Need::TrainAndTest, &["x", "is no class of the 1"]);
        for name in ["x", "y"] {
            std::fs::create_dir(root.join("train").join(name)).expect("a new folder");
        }
        refused(root, Need::TrainAndTest, &["train", "holds no JPEG"]);
        refused(&root.join("nowhere"), Need::Test, &["nowhere", "cannot be read"]);
        let text = root.join("val/text");
        std::fs::write(&text, "no images").expect("a small file");
        refused(&text, Need::Test, &["text", "data pack"]);
        assert_eq!(open(&Opening::default()).err().expect("no path").exit_code(), 2);
    }

    /// A million names of a thousand classes, as they come from a directory.
    #[test]
    fn a_million_names_are_listed_in_seconds() {
        let list = |directory: &Path| {
            let depth = directory.components().count();
            let entry = |name: String, is_dir| Entry { name, is_dir };
            Ok(match depth {
                1 => ["val", "train"].map(|name| entry(name.into(), true)).into(),
                // Backwards, so that there is something to sort.
                2 => (0..1000).rev().map(|i| entry(format!("n{i:08}"), true)).collect(),
                _ => (0..500).rev().map(|i| entry(format!("n01440764_{i}.JPEG"), false)).collect(),
            })
        };
        let began = std::time::Instant::now();
        let opening = Opening { need: Need::TrainAndTest, ..Opening::default() };
        let splits = Splits::list(Path::new("root"), &opening, &list).expect("good names");
        let seconds = began.elapsed().as_secs_f64();
        assert_eq!((splits.classes.len(), splits.train.len(), splits.test.len()), (1000, 500_000, 500_000));
        let (label, path) = splits.train.get(123_456);
        // By name: 0, 1, 10, 100, 101 ...
        assert_eq!((label, path.parent()), (246, Some(Path::new("root/train/n00000246"))));
        assert!(splits.train.get(500).1.ends_with("n01440764_0.JPEG"));
        assert!(splits.train.get(502).1.ends_with("n01440764_10.JPEG"));
        eprintln!("1,000,000 names in {seconds:.2} s");
        // Ten times what it takes on two busy cores, without optimization.
        assert!(seconds < 20.0, "{seconds} s");
    }
}
