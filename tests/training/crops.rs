//! Evaluation crops against torchvision's.

use crate::support::data;
use serde_json::Value;
use shiftnet::data::{crop, pictures};
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures").into()
}

/// The crop of a file, (3, side, side).
fn evaluated(path: &Path, side: usize) -> Vec<u8> {
    let image = pictures::open(path).expect("an image");
    let mut planes = vec![0; 3 * side * side];
    crop::evaluate(&image, [side, side], &mut planes);
    planes
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("of numbers")).collect()
}

/// Compares the means of the planes, and the pixels where 11 rows and 9 columns meet.
fn assert_like(case: &Value, root: &Path) {
    let (file, side) =
        (case["file"].as_str().expect("a name"), case["side"].as_u64().expect("a number") as usize);
    let planes = evaluated(&root.join(file), side);
    let means = planes.chunks_exact(side * side).map(|p| p.iter().map(|&v| f64::from(v)).sum::<f64>());
    for (mean, want) in means.map(|sum| sum / (side * side) as f64).zip(numbers(&case["means"])) {
        assert!((mean - want).abs() <= 0.6, "{file} at {side}: a mean of {mean}, not {want}");
    }
    let at = |n: usize| (0..n).map(move |i| i * (side - 1) / (n - 1));
    let places = (0..3).flat_map(|c| at(11).flat_map(move |y| at(9).map(move |x| (c * side + y) * side + x)));
    let want = numbers(&case["pixels"]);
    let differences: Vec<f64> =
        places.zip(&want).map(|(place, want)| (f64::from(planes[place]) - want).abs()).collect();
    assert_eq!(differences.len(), 297);
    let mean = differences.iter().sum::<f64>() / 297.0;
    let most = differences.iter().copied().fold(0.0, f64::max);
    // A crop that is off by one pixel differs by several levels in the mean.
    assert!(
        mean <= 0.75 && most <= 12.0,
        "{file} at {side}: differs by {mean} in the mean, by {most} at most"
    );
}

/// Grey and CMYK files, and one that EXIF says is turned; whole and enlarged.
#[test]
fn small_files() {
    let fixture = std::fs::read(fixtures().join("crops.json")).expect("it is committed");
    let fixture: Value = serde_json::from_slice(&fixture).expect("JSON");
    let cases: Vec<&Value> = fixture["crops"].as_array().expect("a list").iter().collect();
    let own = |case: &&&Value| !case["file"].as_str().is_some_and(|file| file.contains('/'));
    assert_eq!(cases.iter().filter(own).count(), 6);
    cases.iter().filter(own).for_each(|case| assert_like(case, &fixtures()));
}

#[test]
fn files_of_imagenet() {
    let Some(root) = data("imagenet-sample") else { return };
    let fixture = std::fs::read(fixtures().join("crops.json")).expect("it is committed");
    let fixture: Value = serde_json::from_slice(&fixture).expect("JSON");
    let cases = fixture["crops"].as_array().expect("a list").iter();
    let large: Vec<&Value> = cases.filter(|c| c["file"].as_str().is_some_and(|f| f.contains('/'))).collect();
    assert!(large.len() >= 12);
    large.iter().for_each(|case| assert_like(case, &root));
}

/// Every crop of the sample against those that `crops.py DIR OUT` wrote to SHIFTNET_CROPS.
#[test]
#[ignore = "needs the crops that tests/fixtures/crops.py writes"]
fn all_files_of_imagenet() {
    let root = data("imagenet-sample").expect("the sample");
    let crops =
        PathBuf::from(std::env::var_os("SHIFTNET_CROPS").expect("SHIFTNET_CROPS says where they are"));
    let files = pictures::files(&[root.join("val")]).expect("images");
    let mut means = Vec::new();
    for file in &files {
        let name = file.file_stem().expect("files have names").to_string_lossy().into_owned() + ".rgb";
        let want = std::fs::read(crops.join(name)).expect("a crop");
        let got = evaluated(file, 224);
        assert_eq!(got.len(), want.len());
        let sum: u64 = got.iter().zip(&want).map(|(g, w)| u64::from(g.abs_diff(*w))).sum();
        let most = got.iter().zip(&want).map(|(g, w)| g.abs_diff(*w)).max();
        means.push((sum as f64 / got.len() as f64, most, file));
    }
    means.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mean = means.iter().map(|m| m.0).sum::<f64>() / means.len() as f64;
    eprintln!("{} crops: {mean:.4} of 255 in the mean; the worst {:?}", means.len(), means.last());
    assert!(means.iter().all(|m| m.0 <= 2.0), "{:?}", means.last());
}
