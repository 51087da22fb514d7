//! Image folders and packed files, from the command line.

use crate::{assert_refused, finished, shiftnet, stderr, stdout, succeed, temporary, text};
use image::{Rgb, RgbImage};
use serde_json::Value;
use shiftnet::model::weights;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const CLASSES: [&str; 2] = ["ant", "bee"];

/// A folder of 12 training and 4 test images of two classes, larger than the 16 x 16 that networks see.
fn folder() -> (TempDir, PathBuf) {
    let directory = temporary();
    let root = directory.path().join("images");
    for (split, count) in [("train", 6), ("val", 2)] {
        for (label, class) in CLASSES.iter().enumerate() {
            let folder = root.join(split).join(class);
            std::fs::create_dir_all(&folder).expect("a new folder");
            for i in 0..count {
                let image = RgbImage::from_fn(30 + i, 24, |x, y| {
                    Rgb([(x * 8) as u8, (y * 9) as u8, (label as u32 * 180 + i * 7) as u8])
                });
                image.save(folder.join(format!("{i}.jpg"))).expect("a small image");
            }
        }
    }
    (directory, root)
}

/// Three epochs of three steps on `data`.
fn line<'a>(data: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = "train --dataset image-folder --image-size 16 -a resnet8 -b 4 --epochs 3 --log-every 1 \
                 --checkpoint-every 1 --lr 0.1 --adapter host --data";
    fixed.split_whitespace().chain([text(data), "--out", text(out)]).chain(more.iter().copied()).collect()
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn weights(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("last.safetensors")).expect("a checkpoint")
}

fn score(arguments: &[&str]) -> String {
    let output = succeed(&[&["eval"], arguments, &["--adapter", "host", "--json"]].concat());
    stdout(&output)
}

/// Trains, is evaluated, exported, run on files, and reported: with the classes of the folder.
#[test]
fn a_folder_from_training_to_use() {
    let (directory, root) = folder();
    let [run, packed, onnx, data] =
        ["run", "net.snp", "net.onnx", "data.pack"].map(|name| directory.path().join(name));
    let output = succeed(&line(&root, &run, &[]));
    let log = stderr(&output);
    assert!(log.contains("image-folder: 12 training and 4 test images, batch 4, 3 steps"), "{log}");
    let lines = metrics(&run);
    let waited = |line: &&Value| line["data_wait_s"].as_f64().is_some_and(|wait| wait >= 0.0);
    assert_eq!(lines.iter().filter(|line| line["event"] == "step").filter(waited).count(), 9);
    let config = std::fs::read_to_string(run.join("config.toml")).expect("a configuration");
    assert!(config.contains("dataset = \"image-folder\"") && config.contains("image-size = 16"), "{config}");
    let folder_score = score(&[text(&run)]);
    assert!(folder_score.contains("\"images\":4"), "{folder_score}");
    // Evaluation needs no training images, and the classes are the network's: `bee` alone is not number 0.
    let only = directory.path().join("only");
    std::fs::create_dir_all(only.join("val/bee")).expect("a new folder");
    std::fs::copy(root.join("val/bee/0.jpg"), only.join("val/bee/0.jpg")).expect("a small file");
    let predictions = directory.path().join("p.csv");
    score(&[text(&run), "--data", text(&only), "--predictions", text(&predictions)]);
    let of_only = std::fs::read_to_string(&predictions).expect("predictions");
    score(&[text(&run), "--predictions", text(&predictions)]);
    let of_all = std::fs::read_to_string(&predictions).expect("predictions");
    let row =
        |text: &str, i: usize| text.lines().nth(i).map(|line| line.split_once(',').map(|r| r.1.to_string()));
    assert_eq!(row(&of_only, 1), row(&of_all, 3), "{of_only}{of_all}");
    std::fs::rename(only.join("val/bee"), only.join("val/wasp")).expect("it is there");
    let refused = shiftnet(&["eval", text(&run), "--data", text(&only), "--adapter", "host"]);
    assert_refused("a foreign class", &refused, 1, &["wasp", "is no class of the 2"]);
    // Exports know the classes without the folder.
    succeed(&["export", text(&run), "--format", "onnx", "--out", text(&onnx)]);
    let bytes = std::fs::read(&onnx).expect("written");
    assert!(CLASSES.iter().all(|class| bytes.windows(3).any(|w| w == class.as_bytes())));
    succeed(&["export", text(&run), "--format", "packed", "--out", text(&packed), "--adapter", "host"]);
    assert!(score(&[text(&packed), "--data", text(&root)]).contains("\"images\":4"));
    score(&[text(&packed), "--data", text(&root), "--arith", "shift"]);
    let output = succeed(&["infer", text(&packed), text(&root.join("val/ant/0.jpg")), "--adapter", "host"]);
    assert!(stdout(&output).contains("ant") && stdout(&output).contains("bee"), "{}", stdout(&output));
    succeed(&["report", text(&run), "--adapter", "host"]);
    let page = std::fs::read_to_string(run.join("report.html")).expect("a page");
    assert!(page.contains("data:image/png") && page.contains("image-folder"));
    // A packed file evaluates as the folder does, to the last digit, and trains. A pipe among the images is none of them: its reader
    // would wait for ever.
    #[cfg(unix)]
    let pipe = std::process::Command::new("mkfifo").arg(root.join("train/ant/pipe.jpg")).status();
    #[cfg(unix)]
    assert!(pipe.expect("mkfifo is there").success());
    let output = succeed(&["data", "pack", text(&root), text(&data), "--image-size", "16"]);
    for command in [&["inspect", text(&data)][..], &["eval", text(&data)]] {
        assert_refused("no network", &shiftnet(command), 1, &["data.pack", "is a packed dataset", "--data"]);
    }
    assert!(stdout(&output).contains("12 training and 4 test images of 2 classes"), "{}", stdout(&output));
    assert_eq!(score(&[text(&run), "--data", text(&data)]), folder_score);
    let other = directory.path().join("other");
    succeed(&line(&data, &other, &["--quiet"]));
    assert_eq!(metrics(&other).len(), 12);
}

/// An experiment goes on with the size of images that the data said.
#[test]
fn an_experiment_on_a_folder_goes_on() {
    let (directory, root) = folder();
    let [file, out, data] = ["x.toml", "out", "data.pack"].map(|name| directory.path().join(name));
    succeed(&["data", "pack", text(&root), text(&data), "--image-size", "16"]);
    let experiment = "title = 't'\nclaim = 'c'\nsource = 's'\n[settings]\ndataset = 'image-folder'\narch = 'resnet8'\n\
                      batch-size = 4\nepochs = 1\n[[run]]\nname = 'one'\nlr = 0.1\n";
    std::fs::write(&file, experiment).expect("a small file");
    let line = ["experiment", text(&file), "--data", text(&data), "--out", text(&out), "--adapter", "host"];
    succeed(&line);
    let log = stderr(&succeed(&line));
    assert!(log.contains("it is finished: 3 steps"), "{log}");
    let listed = stdout(&succeed(&["experiment", text(&file), "--out", text(&out), "--list"]));
    assert!(listed.contains("one: finished, 3 steps"), "{listed}");
    std::fs::remove_file(out.join("one/last.safetensors")).expect("it is there");
    let log = stderr(&succeed(&line));
    assert!(log.contains("it continues after step 0"), "{log}");
}

/// Stopped and resumed, with another number of threads, it ends with the bytes of a run that went through.
#[test]
fn a_resumed_run_reads_the_same() {
    let (directory, root) = folder();
    let [whole, run, plain, killed] =
        ["whole", "run", "plain", "killed"].map(|name| directory.path().join(name));
    succeed(&line(&root, &whole, &["--quiet"]));
    let stopped = |threads: &str, arguments: &[&str]| {
        let output = crate::command(arguments).env("RAYON_NUM_THREADS", threads).output().expect("it starts");
        assert!(output.status.success(), "{}", stderr(&output));
    };
    stopped("1", &line(&root, &run, &["--quiet", "--max-steps", "4"]));
    assert_ne!(weights(&run), weights(&whole));
    stopped("5", &["train", "--resume", text(&run), "--max-steps", "9", "--quiet"]);
    assert!(weights(&run) == weights(&whole));
    // Nor does a kill change anything, wherever it comes.
    let mut child = crate::command(&line(&root, &killed, &["--quiet"])).spawn().expect("it starts");
    let began = std::time::Instant::now();
    while !killed.join("last.safetensors").exists() {
        assert!(began.elapsed().as_secs() < 60, "no checkpoint came");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().expect("it can be killed");
    let whole_already = child.wait().expect("it ends").success();
    assert!(whole_already || weights(&killed) != weights(&whole));
    stopped("3", &["train", "--resume", text(&killed), "--quiet"]);
    assert!(weights(&killed) == weights(&whole));
    // Without augmentation it is another run: the crops were random.
    succeed(&line(&root, &plain, &["--quiet", "--augment", "none"]));
    assert_ne!(weights(&plain), weights(&whole));
    // Nor does it go on with other classes.
    std::fs::rename(root.join("train/bee"), root.join("train/wasp")).expect("it is there");
    std::fs::rename(root.join("val/bee"), root.join("val/wasp")).expect("it is there");
    let refused = shiftnet(&["train", "--resume", text(&run), "--epochs", "4"]);
    assert_refused("other classes", &refused, 1, &["last.safetensors", "was trained on other classes"]);
}

#[test]
fn damaged_images() {
    let (directory, root) = folder();
    let damaged = root.join("train/bee/3.jpg");
    let whole = std::fs::read(&damaged).expect("an image");
    std::fs::write(&damaged, &whole[..whole.len() / 2]).expect("a small file");
    let [run, again, strict] = ["run", "again", "strict"].map(|name| directory.path().join(name));
    let log = stderr(&succeed(&line(&root, &run, &[])));
    // Once, though it is read in each of three epochs.
    assert_eq!(log.matches("3.jpg").count(), 1, "{log}");
    assert!(log.contains("warning: ") && log.contains("The next image takes its place"), "{log}");
    assert!(log.contains("1 damaged image replaced"), "{log}");
    let counts = |run: &Path| -> Vec<Value> {
        let lines = metrics(run).into_iter().filter(|line| line["event"] == "epoch");
        lines.map(|line| line["corrupt_images"].clone()).collect()
    };
    assert_eq!(counts(&run), [1, 1, 1]);
    succeed(&line(&root, &again, &["--quiet", "--max-steps", "5"]));
    succeed(&["train", "--resume", text(&again), "--quiet", "--max-steps", "9"]);
    assert!(weights(&again) == weights(&run));
    assert_eq!(counts(&again).last(), counts(&run).last());
    let refused = shiftnet(&line(&root, &strict, &["--strict"]));
    assert_refused("--strict", &refused, 1, &["3.jpg", "is no image that can be read"]);
    // Among the test images, and one that leads nowhere.
    let damaged = root.join("val/ant/1.jpg");
    std::fs::write(&damaged, "text").expect("a small file");
    #[cfg(unix)]
    {
        let both = directory.path().join("both");
        let link = root.join("train/ant/0.jpg");
        std::fs::remove_file(&link).expect("an image");
        std::os::unix::fs::symlink("nowhere.jpg", &link).expect("a new link");
        let log = stderr(&succeed(&line(&root, &both, &[])));
        assert!(
            log.contains("0.jpg: cannot be opened") && log.contains("3 damaged images replaced"),
            "{log}"
        );
        assert_eq!(counts(&both), [3, 3, 3]);
        let other = root.join("train/bee/3.jpg");
        std::fs::write(&other, &whole).expect("a small file");
        let refused = shiftnet(&line(&root, &strict, &["--strict", "--overwrite"]));
        assert_refused("--strict", &refused, 1, &["0.jpg"]);
        std::fs::write(&other, &whole[..whole.len() / 2]).expect("a small file");
        std::fs::remove_file(&link).expect("a link");
        std::fs::copy(root.join("train/ant/1.jpg"), &link).expect("a small file");
    }
    let output = succeed(&["eval", text(&run), "--adapter", "host"]);
    assert!(
        stderr(&output).contains("1.jpg") && stderr(&output).contains("warning: 1 images"),
        "{}",
        stderr(&output)
    );
    let refused = shiftnet(&["eval", text(&run), "--adapter", "host", "--strict"]);
    assert_refused("eval --strict", &refused, 1, &["1.jpg"]);
    let out = directory.path().join("data.pack");
    let output = succeed(&["data", "pack", text(&root), text(&out), "--image-size", "16"]);
    assert!(stdout(&output).contains("11 training and 3 test") && stderr(&output).contains("3.jpg"));
    let refused = shiftnet(&["data", "pack", text(&root), text(&out), "--strict"]);
    assert_refused("pack --strict", &refused, 1, &["3.jpg"]);
    // The older file is still there and whole: what was half-written is gone.
    assert!(out.exists() && !directory.path().join(".data.pack.tmp").exists());
}

/// Folders are in the order of their classes, so that their first images are of few.
#[test]
fn limits_that_leave_out_classes_are_noted() {
    let (directory, root) = folder();
    let out = directory.path().join("run");
    let log = stderr(&succeed(&line(&root, &out, &["--limit", "6", "--limit-val", "3", "--max-steps", "1"])));
    assert!(log.contains("note: the first 6 training images are of 1 of 2 classes"), "{log}");
    assert!(!log.contains("test images are of"), "{log}");
    let packed = directory.path().join("data.pack");
    succeed(&["data", "pack", text(&root), text(&packed), "--image-size", "16"]);
    for data in [&root, &packed] {
        let log = stderr(&succeed(&["eval", text(&out), "--data", text(data), "--limit", "2"]));
        assert!(log.contains("note: the first 2 test images are of 1 of 2 classes"), "{log}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let (directory, root) = folder();
    let out = directory.path().join("run");
    let data = directory.path().join("data.pack");
    succeed(&["data", "pack", text(&root), text(&data), "--image-size", "16"]);
    let bytes = std::fs::read(&data).expect("written");
    let [cut, broken, foreign, empty] =
        ["cut.pack", "broken.pack", "foreign.pack", "empty"].map(|name| directory.path().join(name));
    std::fs::write(&cut, &bytes[..bytes.len() - 100]).expect("a small file");
    let mut damaged = bytes.clone();
    damaged[64..bytes.len() / 2].fill(7);
    std::fs::write(&broken, damaged).expect("a small file");
    std::fs::write(&foreign, "something else").expect("a small file");
    std::fs::create_dir(&empty).expect("a new folder");
    let train = |data: &Path, code: i32, expected: &[&str]| {
        assert_refused(text(data), &shiftnet(&line(data, &out, &["--quiet"])), code, expected);
        assert!(!out.join("last.safetensors").exists(), "{}", data.display());
    };
    train(&cut, 1, &["cut.pack", "is truncated", "data pack"]);
    train(&foreign, 1, &["foreign.pack", "is neither a folder nor a file of `shiftnet data pack`"]);
    train(&empty, 1, &["empty", "has no folder train", "An image folder has train/<class>/"]);
    train(&directory.path().join("nowhere"), 1, &["nowhere", "cannot be read"]);
    let arguments = line(&broken, &out, &["--quiet"]);
    assert_refused(
        "damaged pixels",
        &shiftnet(&arguments),
        1,
        &["broken.pack", "does not match its checksum"],
    );
    std::fs::remove_dir_all(&out).expect("a run that did not begin");
    let refused = shiftnet(&["train", "--dataset", "image-folder"]);
    assert_refused("no --data", &refused, 2, &["--data"]);
    let refused = shiftnet(&["train", "--image-size", "64"]);
    assert_refused("a size for synthetic", &refused, 2, &["--image-size is for --dataset image-folder"]);
    let larger =
        [&["train", "--dataset", "image-folder", "--image-size", "32", "--data"], &[text(&data)][..]]
            .concat();
    assert_refused("a larger size", &shiftnet(&larger), 1, &["was packed for images of 16"]);
    let refused = shiftnet(&["data", "pack", text(&root), text(&empty)]);
    assert_refused("a folder's name", &refused, 2, &["OUT", "the name of a file"]);
    let refused = shiftnet(&["bench", "data"]);
    assert_refused("bench data", &refused, 2, &["--data"]);
    std::fs::create_dir(root.join("val/wasp")).expect("a new folder");
    train(&root, 1, &["wasp", "is no class of the 2"]);
    std::fs::remove_dir(root.join("val/wasp")).expect("it is there");
    std::fs::create_dir(root.join("train/cow")).expect("a new folder");
    train(&root, 1, &["cow", "holds no JPEG, PNG or WebP files"]);
}

#[test]
fn reading_is_measured() {
    let (directory, root) = folder();
    let json = directory.path().join("data.json");
    let line = ["bench", "data", "--data", text(&root), "--image-size", "16", "--seconds", "0.02", "--json"];
    let output = succeed(&[&line[..], &[text(&json)]].concat());
    assert!(stdout(&output).contains("training crop, read ahead"), "{}", stdout(&output));
    let record: Value = serde_json::from_slice(&std::fs::read(&json).expect("written")).expect("JSON");
    let rates = record["data"].as_array().expect("a list");
    assert_eq!(rates.len(), 4);
    assert!(rates.iter().all(|rate| rate["images_per_s"].as_f64().is_some_and(|r| r > 0.0)));
}

/// Ten classes of Tiny ImageNet, whose images are 64 x 64.
#[test]
fn tiny_imagenet() {
    let Some(data) = crate::support::data("tiny-imagenet-10") else { return };
    let directory = temporary();
    let run = directory.path().join("run");
    let arguments = "train --dataset image-folder --image-size 64 -a resnet8 -b 16 --max-steps 6 --limit-val 40 \
                     --log-every 1 --lr 0.1 --adapter host --quiet --data";
    let arguments: Vec<&str> =
        arguments.split_whitespace().chain([text(&data), "--out", text(&run)]).collect();
    succeed(&arguments);
    let lines = metrics(&run);
    let loss = |line: &Value| line["loss"].as_f64().expect("a number");
    assert!(lines.len() == 7 && lines[..6].iter().all(|line| (1.0..4.0).contains(&loss(line))), "{lines:?}");
    assert!(score(&[text(&run), "--limit", "50"]).contains("\"images\":50"));
}

/// A network that was trained on other classes lends all but its classifier, which is a new network's, and the run says so.
#[test]
fn a_network_of_other_classes_begins_with_a_new_classifier() {
    let (directory, root) = folder();
    let [begun, new] = ["begun", "new"].map(|name| directory.path().join(name));
    let run = finished();
    let output = succeed(&line(&root, &begun, &["--max-steps", "0", "--init-from", text(run)]));
    let said = stderr(&output);
    assert!(said.contains("run is of 10 classes, the data of 2: the classifier begins anew"), "{said}");
    succeed(&line(&root, &new, &["--max-steps", "0"]));
    let [lent, begun, new] =
        [run.join("best.safetensors"), begun.join("last.safetensors"), new.join("last.safetensors")]
            .map(|file| weights::read(&file).expect("weights"));
    assert_eq!(begun["fc.weight"].0, [2, 64]);
    for (name, tensor) in &begun {
        let from = if name.starts_with("fc.") { &new } else { &lent };
        assert!(*tensor == from[name], "{name}");
    }
    assert!(begun["layer1.0.conv1.weight_sign"] != new["layer1.0.conv1.weight_sign"]);
}
