//! What the commands print where all is well.

use crate::{files, finished, shiftnet, small, stderr, stdout, succeed, temporary, text};
use serde_json::Value;

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn eval_as_json() {
    let before = files(finished());
    for run in [text(finished()), text(&finished().join("last.safetensors"))] {
        let output = succeed(&["eval", run, "--json", "--limit", "30", "--seed", "0"]);
        let lines: Vec<String> = stdout(&output).lines().map(str::to_string).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let score = json(&lines[0]);
        let number = |key: &str| score[key].as_f64().unwrap_or_else(|| panic!("{key} of {score}"));
        let [top1, top5] = ["top1", "top5"].map(number);
        assert!(0.0 <= top1 && top1 <= top5 && top5 <= 100.0 && number("loss") > 0.0, "{score}");
        assert_eq!((&score["images"], &score["dataset"]), (&30.into(), &"synthetic".into()));
        assert!(output.stderr.is_empty(), "{}", stderr(&output));
    }
    assert!(files(finished()) == before, "something was written");
}

/// Both engines, and any batch, find the same.
#[test]
fn eval_does_not_depend_on_the_batch_or_the_engine() {
    let run = text(finished());
    let score = |more: &[&str]| {
        let output =
            succeed(&[&["eval", run, "--json", "--limit", "23", "--checkpoint", "last"], more].concat());
        json(&stdout(&output))
    };
    let one = score(&["-b", "1"]);
    for other in [score(&["-b", "7"]), score(&["-b", "100"]), score(&["--adapter", "host"])] {
        assert_eq!((&one["top1"], &one["images"]), (&other["top1"], &other["images"]));
        let [a, b] = [&one, &other].map(|score| score["loss"].as_f64().expect("a number"));
        assert!((a - b).abs() <= 1e-4 * a, "{a} and {b}");
    }
}

#[test]
fn train_as_json() {
    let directory = temporary();
    let run = directory.path().join("run");
    let output = succeed(&small(&run, &["--json", "--checkpoint-every", "1"]));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    let events: Vec<Value> = stdout(&output).lines().map(json).collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().expect("a name")).collect();
    let epoch = ["step", "checkpoint", "step", "epoch", "checkpoint"];
    assert_eq!(names, [&["run"], &epoch[..], &epoch[..], &["end"]].concat());
    let begun = &events[0];
    assert_eq!((begun["path"].as_str(), begun["last_step"].as_u64()), (Some(text(&run)), Some(4)));
    assert_eq!(begun["settings"]["dataset"], "synthetic");
    assert!(
        stdout(&output).starts_with("{\"event\":\"run\",") && stdout(&output).contains("\"lr\":0.4,"),
        "{begun}"
    );
    // What is in the metrics is what was printed, and what the specification lists.
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let metrics: Vec<Value> = metrics.lines().map(json).collect();
    let kept: Vec<&Value> = events.iter().filter(|e| e["event"] == "step" || e["event"] == "epoch").collect();
    assert_eq!(metrics.iter().collect::<Vec<_>>(), kept);
    for line in &metrics {
        let step = ["epoch", "step", "loss", "lr", "images_per_s", "data_wait_s"];
        let epoch = [
            "epoch",
            "step",
            "train_loss",
            "train_top1",
            "val_loss",
            "val_top1",
            "val_top5",
            "images_per_s",
            "sign_flip_rate",
            "sparsity",
        ];
        let keys = if line["event"] == "step" { &step[..] } else { &epoch[..] };
        assert!(keys.iter().all(|key| line[key].is_number()), "{line}");
    }
    let layers = metrics[2]["layers"].as_array().expect("layers of S³ weights");
    assert_eq!(layers.len(), 8, "6 convolutions and 2 shortcuts");
    assert!(layers.iter().all(|layer| layer["shift_histogram"].as_array().is_some_and(|h| h.len() == 3)));
}

#[test]
fn inspect_and_devices() {
    let output = succeed(&["inspect", text(finished())]);
    for word in
        ["checkpoint of resnet8 shortcut B on synthetic: step", "layer1.0.conv1.weight", "16x16x3x3", "total"]
    {
        assert!(stdout(&output).contains(word), "{word}: {}", stdout(&output));
    }
    // For programs, the same.
    let value = json(&stdout(&succeed(&["inspect", text(finished()), "--json"])));
    assert!(value["run"]["arch"] == "resnet8" && value["method"] == "s3" && value["bits"] == 3, "{value}");
    let tensors = value["tensors"].as_array().expect("an array");
    let total = |key: &str| tensors.iter().map(|tensor| tensor[key].as_u64().expect("a number")).sum::<u64>();
    let (all, stored) = (total("bytes_f32"), total("bytes_stored"));
    let last = format!("{all:>9}  {stored:>10}");
    assert!(
        stdout(&output).lines().any(|line| line.starts_with("total") && line.ends_with(last.trim())),
        "{last}"
    );
    let discrete: Vec<_> = tensors.iter().filter(|tensor| tensor["discrete"] == true).collect();
    assert!(
        discrete.len() == 8 && discrete.iter().all(|tensor| tensor["distinct"].as_u64() <= Some(7)),
        "{value}"
    );
    let devices = json(&stdout(&succeed(&["devices", "--json"])));
    let devices = devices.as_array().expect("an array");
    let host = devices.last().expect("the host at least");
    // It is chosen by its name, and has no number.
    assert_eq!((&host["name"], &host["index"]), (&"host".into(), &Value::Null));
    assert!(devices.iter().filter(|device| device["default"] == true).count() <= 1);
}

/// On a log, or with --quiet: nothing but plain lines, or nothing.
#[test]
fn plain_output() {
    let directory = temporary();
    let out = directory.path().join("run");
    let output = succeed(&small(&out, &["--max-steps", "1"]));
    let log = stderr(&output);
    for line in ["adapter ", "resnet8 shortcut B, S³ 3-bit, ", "epoch 1/2 step 1/2 loss ", "done in "] {
        assert!(log.lines().any(|found| found.starts_with(line)), "{line}: {log}");
    }
    assert!(!log.contains('\u{1b}') && !log.contains('\r') && output.stdout.is_empty(), "{log}");
    let output = succeed(&small(&out, &["--max-steps", "1", "--quiet", "--overwrite"]));
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{}", stderr(&output));
    let version = shiftnet(&["--version"]);
    assert!(stdout(&version).starts_with("shiftnet "), "{}", stdout(&version));
}

/// A run's own configuration is one to begin another with.
#[test]
fn a_run_is_repeated_from_its_configuration() {
    let directory = temporary();
    let again = directory.path().join("again");
    let config = finished().join("config.toml");
    succeed(&["train", "--config", text(&config), "--out", text(&again), "--quiet"]);
    let [first, second] =
        [finished(), &again].map(|run| std::fs::read(run.join("last.safetensors")).expect("a checkpoint"));
    assert!(first == second);
    succeed(&[
        "train",
        "--config",
        text(&config),
        "--lr",
        "0.1",
        "--out",
        text(&again),
        "--overwrite",
        "--quiet",
    ]);
    assert!(
        std::fs::read(again.join("last.safetensors")).expect("a checkpoint") != second,
        "flags come first"
    );
}

/// A reader that goes away is no error.
#[test]
#[cfg(unix)]
fn a_closed_pipe() {
    let mut child = crate::command(&["inspect", text(finished())]).spawn().expect("it starts");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}

/// Training saves what it has when nobody reads its events any more.
#[test]
#[cfg(unix)]
fn training_into_a_closed_pipe() {
    let directory = temporary();
    let out = directory.path().join("run");
    let mut child =
        crate::command(&small(&out, &["--json", "--epochs", "100000"])).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", stderr(&output));
    let again = succeed(&["train", "--resume", text(&out), "--epochs", "3", "--json"]);
    assert!(stdout(&again).lines().last().is_some_and(|line| line.contains("\"end\"")), "{}", stdout(&again));
}

/// Scripts pass on what they are given: the last of several flags counts.
#[test]
fn flags_given_twice() {
    let directory = temporary();
    let out = directory.path().join("run");
    succeed(&small(&out, &["--quiet", "--max-steps", "2", "--epochs", "1", "--max-steps", "1"]));
    let config = std::fs::read_to_string(out.join("config.toml")).expect("a configuration");
    assert!(config.contains("epochs = 1") && config.contains("max-steps = 1"), "{config}");
}

/// Names that are not UTF-8 are refused where a file would have to hold them, and else are names like others.
#[test]
#[cfg(target_os = "linux")]
fn names_that_are_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    let directory = temporary();
    let odd = directory.path().join(std::ffi::OsStr::from_bytes(b"o\xffd"));
    let run = |arguments: &[&str], path: &Path| {
        crate::command(arguments).arg(path).output().expect("the program starts")
    };
    let out = directory.path().join("run");
    for flag in ["--data", "--init-from"] {
        let output = run(&small(&out, &["--max-steps", "1", flag]), &odd);
        crate::assert_refused(flag, &output, 2, &[flag, "UTF-8"]);
    }
    let output =
        run(&["train", "--resume", text(finished()), "--epochs", "3", "--dry-run", "--init-from"], &odd);
    crate::assert_refused("--resume --init-from", &output, 2, &["a resumed run"]);
    crate::assert_refused(
        "experiment --data",
        &run(&["experiment", "bits", "--list", "--data"], &odd),
        2,
        &["UTF-8"],
    );
    crate::assert_refused("bench --data", &run(&["bench", "data", "--data"], &odd), 1, &["cannot be read"]);
    let more = ["train", "--resume", text(finished()), "--epochs", "3", "--data"];
    let own = "--data is given to a run on built-in images";
    crate::assert_refused(own, &run(&more, &odd), 2, &["--data is ", "synthetic"]);
    // A run in such a place is trained, compared and shown.
    let output = run(&[crate::SMALL, &["--max-steps", "1", "--json", "--out"]].concat(), &odd);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).lines().all(|line| json(line)["event"].is_string()), "{}", stdout(&output));
    let output =
        run(&["report", "--adapter", "host", text(finished()), "--out", text(directory.path())], &odd);
    assert!(output.status.success(), "{}", stderr(&output));
}
