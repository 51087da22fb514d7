//! Packed files: that they read as their folder does, and that damage is noticed.

use super::*;
use image::{Rgb, RgbImage};

const CLASSES: [&str; 3] = ["ant", "bee", "cat"];

/// A folder with images of several sizes and a damaged one, and the file that it is packed to.
fn packed(side: usize) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (i, (split, class)) in ["train", "val"].iter().flat_map(|s| CLASSES.map(|c| (s, c))).enumerate() {
        let folder = directory.path().join(split).join(class);
        std::fs::create_dir_all(&folder).expect("a new folder");
        for j in 0..3 {
            let (width, height) = (20 + 7 * i as u32 + j, 35 - 3 * i as u32);
            let image = RgbImage::from_fn(width, height, |x, y| {
                Rgb([(x * 9 + j) as u8, (y * 7) as u8, (x * y + i as u32) as u8])
            });
            image.save(folder.join(format!("{j}.png"))).expect("a small image");
        }
    }
    std::fs::write(directory.path().join("train/bee/1.jpg"), b"\xFF\xD8 no image").expect("a small file");
    let out = directory.path().join("all.pack");
    let (mut unreadable, mut written) = (vec![], vec![]);
    let mut tell = |event| {
        match event {
            Event::Unreadable(problem) => unreadable.push(problem),
            Event::Written(images, all) => written.push((images, all)),
        }
        Ok(())
    };
    let strict = write(directory.path(), &out, side, true, &mut |_| Ok(())).expect_err("one is damaged");
    assert!(strict.to_string().contains("1.jpg") && !out.exists(), "{strict}");
    let stopped = write(directory.path(), &out, side, false, &mut |_| Err(Error::Interrupted));
    assert!(matches!(stopped, Err(Error::Interrupted)) && !out.exists());
    let packed = write(directory.path(), &out, side, false, &mut tell).expect("a good folder");
    assert!(unreadable.len() == 1 && unreadable[0].contains("1.jpg"), "{unreadable:?}");
    assert_eq!((packed.unreadable, written.last()), (1, Some(&(19, 19))));
    let Contents { classes, train, val, image_size, .. } = packed.contents;
    assert_eq!((&classes[..], train, val, image_size), (&CLASSES.map(String::from)[..], 9, 9, side));
    assert_eq!(packed.bytes, std::fs::metadata(&out).expect("it is there").len());
    let names = std::fs::read_dir(directory.path()).expect("it is there").count();
    assert_eq!(names, 3, "train, val and the file, nothing temporary");
    (directory, out)
}

fn opening(path: &Path) -> Opening<'_> {
    Opening { data: Some(path), need: Need::TrainAndTest, ..Opening::default() }
}

/// What has no whole image is no dataset.
#[test]
fn folders_without_a_whole_image_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let folder = directory.path().join("val/ant");
    std::fs::create_dir_all(&folder).expect("a new folder");
    std::fs::write(folder.join("1.jpg"), b"\xFF\xD8 no image").expect("a small file");
    let out = directory.path().join("all.pack");
    let refused =
        write(directory.path(), &out, 16, false, &mut |_| Ok(())).expect_err("it has none").to_string();
    assert!(refused.contains("val: has no image that can be read") && !out.exists(), "{refused}");
    // Nor is what no network sees, which the reader would not take.
    for side in [0, SIDES.end() + 1] {
        let refused =
            write(directory.path(), &out, side, false, &mut |_| Ok(())).expect_err("no such images");
        assert!(refused.to_string().contains("1 to 4096") && !out.exists(), "{refused}");
    }
}

/// Evaluation sees the same bytes; so does training where the images were not resized.
#[test]
fn it_reads_as_the_folder_does() {
    let (directory, out) = packed(16);
    std::fs::remove_file(directory.path().join("train/bee/1.jpg")).expect("it is there");
    let from_folder = Opening { image_size: Some(16), ..opening(directory.path()) };
    let [folder, file] = [from_folder, opening(&out)].map(|o| folder::open(&o).expect("good data"));
    assert_eq!(folder.input, file.input);
    let pairs = [(&folder.train, &file.train), (&folder.test, &file.test)];
    for (folder, file) in pairs {
        assert_eq!((folder.len(), file.len()), (9, 9));
        for index in 0..9 {
            let [mut a, mut b] = [(); 2].map(|()| vec![0; 3 * 256]);
            let labels = [folder.read(index, &mut a), file.read(index, &mut b)].map(|l| l.expect("whole"));
            assert!(labels == [index as u32 / 3; 2] && a == b, "{index}: {labels:?}");
        }
    }
    // At the side that they have, images are stored as they are.
    let small = directory.path().join("val/cat");
    std::fs::remove_dir_all(directory.path().join("train")).expect("it is there");
    for class in ["ant", "bee"] {
        std::fs::remove_dir_all(directory.path().join("val").join(class)).expect("it is there");
    }
    let out = directory.path().join("val.pack");
    write(directory.path(), &out, 20, false, &mut |_| Ok(())).expect("a good folder");
    assert!(small.exists());
    let folder = Opening { image_size: Some(20), need: Need::Test, ..opening(directory.path()) };
    let file = Opening { need: Need::Test, ..opening(&out) };
    let [folder, file] = [folder, file].map(|o| folder::open(&o).expect("good data"));
    for index in 0..3 {
        let [mut a, mut b] = [(); 2].map(|()| vec![0; 3 * 400]);
        let draws = || Draws::new(7, crate::rng::Stream::Crop, 1, index as u32);
        folder.test.read_varied(index, draws(), &mut a).expect("whole");
        file.test.read_varied(index, draws(), &mut b).expect("whole");
        assert!(a == b && a.iter().any(|&v| v != a[0]), "{index}");
    }
    assert!(folder::open(&opening(&out)).err().expect("no train").to_string().contains("no images of train"));
}

#[test]
fn other_sizes_and_classes_are_seen_to() {
    let (_directory, out) = packed(16);
    let error = |opening: &Opening| folder::open(opening).err().expect("it does not fit").to_string();
    let larger = Opening { image_size: Some(17), ..opening(&out) };
    assert!(error(&larger).contains("packed for images of 16"), "{}", error(&larger));
    let smaller = Opening { image_size: Some(12), ..opening(&out) };
    assert_eq!(folder::open(&smaller).expect("it fits").input.image, [12, 12]);
    let classes = ["cat", "ant", "dog", "bee"].map(String::from);
    let others = Opening { classes: Some(&classes), ..opening(&out) };
    let source = folder::open(&others).expect("all are known");
    let mut planes = vec![0; 3 * 256];
    let labels = [0, 3, 6].map(|i| source.test.read(i, &mut planes).expect("whole"));
    assert_eq!((labels, source.input.classes.len()), ([1, 3, 0], 4));
    let few = Opening { classes: Some(&classes[..3]), ..opening(&out) };
    assert!(error(&few).contains("bee, which is no class of the 3"), "{}", error(&few));
}

#[test]
fn damage_is_noticed() {
    let (_directory, out) = packed(8);
    let bytes = std::fs::read(&out).expect("it is there");
    let (_, records) = check(&bytes).expect("whole");
    for len in [0, 7, 8, 40, 63, 64, 1000, records, bytes.len() - 1] {
        assert!(check(&bytes[..len]).is_err(), "cut to {len}");
    }
    assert!(check(&[&bytes[..], b"x"].concat()).expect_err("longer").contains("longer"));
    let begin = (0..8).fold(0, |begin, i| begin | usize::from(bytes[16 + i]) << (8 * i));
    for at in (0..HEADER).chain(begin..bytes.len()) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(check(&damaged).is_err(), "byte {at}");
    }
    // What another version writes may be whole.
    let mut newer = bytes.clone();
    newer[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let sum = crc32fast::hash(&newer[..HEADER - 4]);
    newer[HEADER - 4..HEADER].copy_from_slice(&sum.to_le_bytes());
    let error = check(&newer).expect_err("newer");
    assert_eq!(error, format!("is of version {}, but this program reads {VERSION}", VERSION + 1));
    // In the pixels it is found when that image is read, and no other takes its place: the file is not to be trusted.
    for at in [HEADER, begin / 2, begin - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&out, &damaged).expect("a small file");
        let source = folder::open(&opening(&out)).expect("its index is whole");
        let mut planes = vec![0; 3 * 64];
        let parts = [&source.train, &source.test];
        let read = parts.into_iter().flat_map(|part| (0..part.len()).map(move |i| (part, i)));
        let errors: Vec<Error> = read.filter_map(|(part, i)| part.read(i, &mut planes).err()).collect();
        assert_eq!(errors.len(), 1, "byte {at}");
        let message = errors[0].to_string();
        assert!(matches!(errors[0], Error::Data { .. }) && message.contains("does not match its checksum"));
    }
}

/// An index with right checksums that says what cannot be is refused, whatever it says.
#[test]
fn a_hostile_index_is_refused() {
    let (_directory, out) = packed(8);
    let bytes = std::fs::read(&out).expect("it is there");
    let (_, records) = check(&bytes).expect("whole");
    let begin = (0..8).fold(0, |begin, i| begin | u64::from(bytes[16 + i]) << (8 * i));
    let index = &bytes[begin as usize..];
    let first = records - begin as usize;
    let largest = u32::MAX.to_le_bytes();
    for at in [0, 4, 8, 12, 16] {
        let mut changed = index.to_vec();
        changed[first + at..first + at + 4].copy_from_slice(&largest);
        assert!(contents(&changed, begin).is_err(), "word {at} of a record");
        changed[first + at..first + at + 4].fill(0);
        // Labels may be 0; sizes and places may not.
        assert!(contents(&changed, begin).is_err() || matches!(at, 4 | 16), "word {at} of a record");
    }
    for round in 0..2000 {
        let mut draws = Draws::new(round, crate::rng::Stream::Synthetic, 0, 9);
        let mut changed = index.to_vec();
        for _ in 0..=draws.below(3) {
            let at = draws.below(changed.len() as u32) as usize;
            match draws.below(3) {
                0 => changed[at] = draws.bits() as u8,
                1 => changed[at] = b"0123456789"[draws.below(10) as usize],
                _ => changed.truncate(at.max(4)),
            }
        }
        // Whatever is accepted lies in the file.
        if let Ok((contents, records)) = contents(&changed, begin) {
            let images = contents.train + contents.val;
            assert_eq!(records + images * RECORD, begin as usize + changed.len());
        }
    }
}
