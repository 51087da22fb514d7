//! export, infer, eval and inspect of packed models.

use crate::{assert_refused, finished, shiftnet, stderr, stdout, succeed, temporary, text};
use shiftnet::deploy::packed;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The packed model of a finished small run, made once. Nothing may change it.
fn packed_model() -> &'static Path {
    static MODEL: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, model) = MODEL.get_or_init(|| {
        let directory = temporary();
        let model = directory.path().join("model.snp");
        succeed(&[
            "export",
            text(finished()),
            "--format",
            "packed",
            "--out",
            text(&model),
            "--adapter",
            "host",
        ]);
        (directory, model)
    });
    model
}

/// A PNG file of a drawn image.
fn picture(path: &Path, width: u32, height: u32) {
    let file = std::fs::File::create(path).expect("a new file");
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let pixels: Vec<u8> = (0..width * height * 3).map(|i| (i * 7 % 251) as u8).collect();
    encoder.write_header().and_then(|mut w| w.write_image_data(&pixels)).expect("a small image");
}

/// The packed model says of the test images what the run says, in f32 of every one and in integers of nearly all.
#[test]
fn packed_models_evaluate_as_their_run() {
    let score = |arguments: &[&str]| {
        let output =
            succeed(&[&["eval", "--json", "--adapter", "host", "--limit", "200"], arguments].concat());
        let value: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        ["top1", "loss"].map(|key| value[key].as_f64().expect("a number"))
    };
    let directory = temporary();
    let csv = directory.path().join("predictions.csv");
    let classes = || {
        let lines = std::fs::read_to_string(&csv).expect("predictions were written");
        lines.lines().map(|line| line.split(',').take(2).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
    };
    let [top1, loss] = score(&[text(finished()), "--predictions", text(&csv)]);
    let predicted = classes();
    assert!(predicted.len() == 201 && predicted[200].starts_with("199,"), "{predicted:?}");
    for arguments in [&[text(packed_model())][..], &[text(finished()), "--arith", "float"]] {
        let [got, got_loss] = score(&[arguments, &["--predictions", text(&csv)]].concat());
        assert_eq!(classes(), predicted);
        assert_eq!(got, top1);
        assert!((got_loss - loss).abs() < 1e-4 * loss, "{got_loss}, {loss}");
    }
    let shift = score(&[text(packed_model()), "--arith", "shift", "--activation-bits", "16"]);
    assert!((shift[1] - loss).abs() < 0.01 * loss, "{shift:?}, {loss}");
    // A run gets its ranges when it is evaluated, from the same images.
    assert_eq!(shift, score(&[text(finished()), "--arith", "shift", "--activation-bits", "16"]));
    let bytes = score(&[text(packed_model()), "--arith", "shift"]);
    assert_eq!(bytes, score(&[text(packed_model()), "--arith", "dp4a"]));
    assert!((bytes[1] - loss).abs() < 0.2 * loss, "{bytes:?}, {loss}");
}

#[test]
fn images_are_named() {
    let directory = temporary();
    let folder = directory.path().join("images");
    std::fs::create_dir_all(folder.join("more")).expect("a new directory");
    picture(&folder.join("b.png"), 32, 32);
    picture(&folder.join("a.png"), 50, 40);
    picture(&folder.join("more/one.PNG"), 1, 1);
    std::fs::write(folder.join("notes.txt"), "not an image").expect("a small file");
    let cmyk = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cmyk.jpg");
    let arguments = ["infer", text(packed_model()), text(&folder), cmyk, "--adapter", "host"];
    let lines = stdout(&succeed(&arguments));
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    for (line, name) in lines.iter().zip(["a.png", "b.png", "one.PNG", "cmyk.jpg"]) {
        assert!(line.contains(name) && line.matches('%').count() == 3, "{line}");
    }
    assert!(lines[4].starts_with("4 images, ") && lines[4].contains("images/s on host"), "{}", lines[4]);
    let json =
        stdout(&succeed(&[&arguments[..], &["--json", "-k", "10", "-b", "3", "--arith", "dp4a"]].concat()));
    let values: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(values.len(), 5);
    let top = values[3]["top"].as_array().expect("a list");
    let sum: f64 = top.iter().map(|guess| guess["probability"].as_f64().expect("a number")).sum();
    assert!(top.len() == 10 && (sum - 1.0).abs() < 1e-9, "{top:?}");
    let falling =
        |pair: &[serde_json::Value]| pair[0]["probability"].as_f64() >= pair[1]["probability"].as_f64();
    assert!(top.windows(2).all(falling), "{top:?}");
}

/// Of a folder, what can be read is named; what is asked for by name is not left out.
#[test]
fn damaged_images_of_a_folder_are_left_out() {
    let directory = temporary();
    let folder = directory.path().join("images");
    std::fs::create_dir_all(&folder).expect("a new directory");
    ["a.png", "c.png"].iter().for_each(|name| picture(&folder.join(name), 32, 32));
    let damaged = folder.join("b.png");
    std::fs::write(&damaged, "not an image").expect("a small file");
    let model = text(packed_model());
    let output = shiftnet(&["infer", model, text(&folder), "--adapter", "host"]);
    let lines = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{lines}");
    assert!(lines.contains("a.png") && lines.contains("c.png") && lines.contains("2 images, "), "{lines}");
    assert!(crate::stderr(&output).contains("warning: ") && crate::stderr(&output).contains("b.png"));
    let refused = shiftnet(&["infer", model, text(&folder), text(&damaged), "--adapter", "host"]);
    assert_refused("by name", &refused, 1, &["b.png", "is no image"]);
}

/// The model of the repository, in every arithmetic, on the picture beside it.
#[test]
fn the_trained_model_knows_a_ship() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let [model, ship] = ["resnet20-cifar10-s3-3bit.snp", "ship.png"].map(|name| root.join(name));
    for arith in [
        &[][..],
        &["--arith", "dp4a"],
        &["--arith", "shift"],
        &["--arith", "shift", "--activation-bits", "16"],
    ] {
        for adapter in ["host", "0"] {
            let arguments = ["infer", text(&model), text(&ship), "--adapter", adapter, "-k", "1", "--json"];
            let lines = stdout(&succeed(&[&arguments[..], arith].concat()));
            let line = lines.lines().next().expect("a line an image");
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(value["top"][0]["class"], "ship", "{lines}");
            assert!(value["top"][0]["probability"].as_f64().is_some_and(|p| p > 0.9), "{lines}");
        }
    }
}

#[test]
fn what_is_packed_is_shown() {
    let lines = stdout(&succeed(&["inspect", text(packed_model())]));
    for expected in [
        "packed resnet8",
        "10 classes of 32 x 32",
        "layer3.0.conv2",
        // 64 rows of 18 blocks of 3 words, and two numbers a row.
        "64x64x3x3  14336   3.11",
        "shift and an addition",
        "Memory at one image",
    ] {
        assert!(lines.contains(expected), "`{expected}` is not in: {lines}");
    }
    let line = stdout(&succeed(&["inspect", text(packed_model()), "--json"]));
    let model: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    let layers = model["layers"].as_array().expect("an array");
    let mut discrete = 0;
    for layer in layers {
        let len: u64 = layer["shape"].as_array().expect("an array").iter().map(number).product();
        let Some(values) = layer["values"].as_array() else { continue };
        assert_eq!(values.iter().map(|value| number(&value[1])).sum::<u64>(), len, "{layer}");
        let zeros: u64 = values.iter().filter(|value| value[0] == 0.0).map(|value| number(&value[1])).sum();
        assert_eq!(zeros, number(&layer["zeros"]), "{layer}");
        discrete += 1;
    }
    assert_eq!((discrete, layers.len()), (8, 10), "{line}");
    let said = [
        format!("{} multiply-adds are a shift", model["shift_adds"]),
        format!("{} bytes, of", model["memory"][1]["bytes"]),
    ];
    assert!(said.iter().all(|said| lines.contains(said)), "{said:?}: {lines}");
}

#[test]
fn exports_are_read_by_others_and_by_us() {
    let directory = temporary();
    let path = |name: &str| directory.path().join(name);
    let plain = path("plain.safetensors");
    let run = text(finished());
    succeed(&["export", run, "--format", "safetensors", "--out", text(&plain)]);
    succeed(&["export", run, "--format", "onnx", "--out", text(&path("model.onnx"))]);
    assert!(std::fs::read(path("model.onnx")).expect("a file").windows(16).any(|w| w == b"DequantizeLinear"));
    let limit = ["--limit", "40", "--adapter", "host", "--json"];
    let ours = stdout(&succeed(&[&["eval", run], &limit[..]].concat()));
    let theirs = stdout(&succeed(&[&["eval", text(&plain), "-a", "resnet8"], &limit[..]].concat()));
    assert_eq!(ours, theirs);
    // Names and shapes alone do not say what they are weights of.
    let refused = shiftnet(&["eval", text(&plain)]);
    assert_refused(
        "no architecture",
        &refused,
        2,
        &["plain.safetensors does not say its architecture", "--arch"],
    );
    let out = path("unnamed.onnx");
    let refused =
        shiftnet(&["export", text(&plain), "-a", "resnet8", "--format", "onnx", "--out", text(&out)]);
    assert_refused("no classes", &refused, 2, &["does not say what its classes are", "--dataset"]);
    assert!(!out.exists());
}

#[test]
fn bad_models_and_images_are_refused() {
    let directory = temporary();
    let path = |name: &str| directory.path().join(name);
    let image = path("image.png");
    picture(&image, 32, 32);
    std::fs::write(path("text.png"), "not an image").expect("a small file");
    std::fs::create_dir(path("empty")).expect("a new directory");
    let whole = std::fs::read(packed_model()).expect("a file");
    std::fs::write(path("short.snp"), &whole[..whole.len() - 9]).expect("a small file");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 16;
    std::fs::write(path("flipped.snp"), flipped).expect("a small file");
    let mut huge = packed::read(packed_model()).expect("a whole file");
    huge.fc[0].fill(f32::MAX);
    std::fs::write(path("huge.snp"), packed::encode(&huge).expect("all of it is finite"))
        .expect("a small file");
    let png = std::fs::read(&image).expect("a file");
    std::fs::write(path("half.png"), &png[..png.len() / 2]).expect("a small file");
    let model = text(packed_model());
    let [image, empty, text_png, half, missing, short, flipped, huge] =
        ["image.png", "empty", "text.png", "half.png", "missing.png", "short.snp", "flipped.snp", "huge.snp"]
            .map(path);
    let best = finished().join("best.safetensors");
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["infer", model, text(&text_png)], 1, &["text.png", "no image"]),
        (&["infer", model, text(&half)], 1, &["half.png", "no image"]),
        (&["infer", model, text(&missing)], 1, &["missing.png"]),
        (&["infer", model, text(&empty)], 1, &["empty", "no JPEG, PNG or WebP"]),
        (&["infer", model], 2, &["<IMAGE>"]),
        (&["infer", model, text(&image), "-k", "0"], 2, &["--top is 0"]),
        (&["infer", text(&best), text(&image)], 1, &["best.safetensors", "not a packed model"]),
        (&["infer", text(&short), text(&image)], 1, &["short.snp", "truncated"]),
        (&["infer", text(&flipped), text(&image)], 1, &["flipped.snp", "checksum"]),
        (
            &["infer", text(&huge), text(&image)],
            1,
            &["huge.snp: computes values that are not finite", "image.png"],
        ),
        (&["eval", text(&short)], 1, &["short.snp"]),
        (&["inspect", text(&flipped)], 1, &["flipped.snp", "checksum"]),
        (&["eval", model, "-a", "resnet20"], 1, &["holds resnet8"]),
        (&["eval", model, "--bits", "4"], 1, &["not 4-bit"]),
        (&["eval", model, "--arith", "shift", "--activation-bits", "12"], 2, &["--activation-bits is 12"]),
        (&["eval", model, "--arith", "dp4a", "--activation-bits", "16"], 2, &["--activation-bits is 16"]),
        (&["eval", model, "--activation-bits", "8"], 2, &["--arith shift"]),
        (&["export", text(&missing), "--format", "packed", "--out", "x"], 1, &["missing.png"]),
        (&["export", model, "--format", "onnx", "--out", "x"], 1, &["packed model"]),
        (&["infer", model, text(&image), "-b", "0"], 2, &["--batch-size is 0"]),
        (&["export", model, "--format", "zip", "--out", "x"], 2, &["zip", "packed"]),
    ];
    for (arguments, code, expected) in cases {
        let output = shiftnet(
            &[arguments, &["--adapter", "host"][..if arguments[0] == "inspect" { 0 } else { 2 }]].concat(),
        );
        assert_refused(&format!("{arguments:?}"), &output, *code, expected);
    }
}

/// A model that tells apart what the dataset does not have is not evaluated on it.
#[test]
fn a_model_of_other_classes_is_refused() {
    let directory = temporary();
    let path = directory.path().join("seven.snp");
    let mut model = packed::read(packed_model()).expect("a whole file");
    model.input.classes.truncate(7);
    model.fc[0].truncate(7 * 64);
    model.fc[1].truncate(7);
    std::fs::write(&path, packed::encode(&model).expect("it can be written")).expect("a small file");
    let refused = shiftnet(&["eval", text(&path), "--adapter", "host"]);
    assert_refused("seven classes", &refused, 2, &["does not say what it was trained on", "--dataset"]);
    let refused = shiftnet(&["eval", text(&path), "--dataset", "synthetic", "--adapter", "host"]);
    assert_refused("seven classes", &refused, 1, &["knows 7 classes", "--dataset"]);
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/models/resnet20-cifar10-s3-3bit.snp");
    let refused = shiftnet(&["eval", committed, "--dataset", "synthetic", "--adapter", "host"]);
    assert_refused("ten others", &refused, 1, &["knows 10 classes", "airplane"]);
}

/// Without images to measure on there is a warning, and a model for f32 alone.
#[test]
fn a_model_without_ranges_computes_in_f32() {
    let directory = temporary();
    let [model, image] = ["model.snp", "image.png"].map(|name| directory.path().join(name));
    picture(&image, 32, 32);
    let best = finished().join("best.safetensors");
    let export = ["export", text(&best), "--format", "packed", "--out", text(&model), "--adapter", "host"];
    let output = succeed(&[&export[..], &["--dataset", "cifar10"]].concat());
    assert!(stderr(&output).contains("warning: no images"), "{}", stderr(&output));
    let infer = ["infer", text(&model), text(&image), "--adapter", "host"];
    succeed(&infer);
    let refused = shiftnet(&[&infer[..], &["--arith", "dp4a"]].concat());
    assert_refused("no ranges", &refused, 2, &["no ranges", "--data"]);
}

/// A full-precision network has nothing to pack, but exports the other ways.
#[test]
fn full_precision_is_not_packed() {
    let directory = temporary();
    let run = directory.path().join("run");
    succeed(&crate::small(&run, &["--quiet", "--method", "fp32", "--adapter", "host"]));
    let out = directory.path().join("out");
    let refused = shiftnet(&["export", text(&run), "--format", "packed", "--out", text(&out)]);
    assert_refused("fp32", &refused, 2, &["full-precision", "onnx"]);
    assert!(!out.exists() && stderr(&refused).lines().count() == 1);
    succeed(&["export", text(&run), "--format", "onnx", "--out", text(&out)]);
    for arith in ["shift", "dp4a"] {
        let refused = shiftnet(&["eval", text(&run), "--arith", arith, "--adapter", "host"]);
        assert_refused(arith, &refused, 2, &["computes with f32 only", "--arith float"]);
    }
}
