//! Experiments: run, killed, continued; their mistakes; comparisons of runs.

use crate::{
    assert_refused, command, files, finished, shiftnet, small, stderr, stdout, succeed, temporary, text,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Four runs of six steps; the first in the file begins from a later one.
const TINY: &str = "
title = 'A tiny experiment'
claim = 'It can be killed & continued.'
source = 'nowhere'
[settings]
arch = 'resnet8'
batch-size = 4
limit = 12
limit-val = 8
epochs = 2
log-every = 1
checkpoint-every = 2
[[run]]
name = 'tuned'
method = 'fp32'
init-from = 'run:s3'
lr = 0.05
[[run]]
name = 's3'
seed = [0, 1]
[[run]]
name = 'full'
method = 'fp32'
lr = 0.05
[[published]]
name = 'theirs'
run = 's3'
top1 = 12.5
source = 'a table'
";

const RUNS: [&str; 4] = ["s3-seed0", "tuned", "s3-seed1", "full"];

/// The tiny experiment's file in `directory`, and the line that runs it in `out`.
fn tiny(directory: &Path) -> PathBuf {
    let file = directory.join("tiny.toml");
    std::fs::write(&file, TINY).expect("a small file");
    file
}

fn line<'a>(file: &'a Path, out: &'a Path) -> Vec<&'a str> {
    vec!["experiment", text(file), "--out", text(out), "--adapter", "host"]
}

fn comparison(out: &Path) -> Value {
    let json = std::fs::read(out.join("comparison.json")).expect("a comparison");
    serde_json::from_slice(&json).expect("JSON")
}

/// Names, bytes and times of the files of a run.
fn stamped(run: &Path) -> Vec<(String, Vec<u8>, SystemTime)> {
    let time =
        |name: &str| std::fs::metadata(run.join(name)).and_then(|file| file.modified()).expect("a time");
    files(run).into_iter().map(|(name, bytes)| (name.clone(), bytes, time(&name))).collect()
}

/// A kill in the second run; the next start leaves the first alone, continues the second, and ends as if nothing had
/// happened; one more finds all finished.
#[test]
fn killed_and_continued() {
    let directory = temporary();
    let file = tiny(directory.path());
    let [whole, out] = ["whole", "out"].map(|name| directory.path().join(name));
    let output = succeed(&line(&file, &whole));
    let log = stderr(&output);
    assert!(log.contains("A tiny experiment: 4 runs in ") && log.contains("run 4 of 4: full"), "{log}");
    assert!(stdout(&output).contains("A tiny experiment: 4 of 4 runs are finished"), "{}", stdout(&output));
    let mut child = command(&line(&file, &out)).spawn().expect("it starts");
    wait_for(&out.join("tuned/metrics.jsonl"));
    child.kill().expect("it can be killed");
    assert!(!child.wait().expect("it ends").success(), "it was killed");
    assert!(!out.join("comparison.html").exists() && !out.join("s3-seed1").exists());
    let first = stamped(&out.join("s3-seed0"));
    let log = stderr(&succeed(&line(&file, &out)));
    assert!(log.contains("run 1 of 4: s3-seed0\nit is finished: 6 steps, 2 epochs"), "{log}");
    assert!(log.contains("it continues after step "), "{log}");
    for run in RUNS {
        for name in ["last.safetensors", "best.safetensors"] {
            let [got, want] =
                [&out, &whole].map(|root| std::fs::read(root.join(run).join(name)).expect(name));
            assert!(got == want, "{run}/{name}");
        }
    }
    let config = std::fs::read_to_string(out.join("tuned/config.toml")).expect("a run");
    let best = Path::new("s3-seed0").join("best.safetensors");
    assert!(config.contains("init-from = ") && config.contains(text(&best)), "{config}");
    let mut now = stamped(&out.join("s3-seed0"));
    now.retain(|(name, ..)| name != "report.html");
    assert!(now == first, "a finished run was touched");
    let before: Vec<_> = RUNS.map(|run| stamped(&out.join(run))).into_iter().collect();
    assert!(before.iter().all(|files| files.iter().any(|(name, ..)| name == "report.html")));
    let log = stderr(&succeed(&line(&file, &out)));
    assert_eq!(log.matches("it is finished: 6 steps").count(), 4, "{log}");
    assert!(RUNS.map(|run| stamped(&out.join(run))).into_iter().eq(before), "a finished run was touched");
    compared(&out);
    refused(&file, &out);
}

/// Ctrl-C saves the run under way, begins no other, and says how to go on.
#[test]
#[cfg(unix)]
fn interrupted() {
    let directory = temporary();
    let (file, out) = (tiny(directory.path()), directory.path().join("out"));
    let child = command(&line(&file, &out)).spawn().expect("it starts");
    wait_for(&out.join("tuned/metrics.jsonl"));
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill is there").success());
    let output = child.wait_with_output().expect("it ends");
    let log = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{log}");
    assert!(log.contains("interrupted: finishing this step"), "{log}");
    assert!(!out.join("full").exists() && !out.join("comparison.html").exists(), "{log}");
    let so_far = stdout(&succeed(&["report", text(&out)]));
    assert!(so_far.contains(" of 4 runs are finished") && so_far.contains("n = 0 of 1"), "{so_far}");
}

/// A run that cannot go on is left, with its reason; what begins from it is left out, and the others are trained.
#[test]
fn a_run_that_fails() {
    let directory = temporary();
    let (file, out) = (tiny(directory.path()), directory.path().join("out"));
    std::fs::write(&file, TINY.replace("seed = [0, 1]", "lr = 1e30")).expect("a small file");
    for again in [false, true] {
        let output = shiftnet(&line(&file, &out));
        let log = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{log}");
        for part in ["it failed: the loss is", "tuned: left out", "these runs failed: s3, tuned"] {
            assert!(log.contains(part), "{part}: {log}");
        }
        assert_eq!(log.contains("failed.txt to have it go on"), again, "{log}");
        assert!(stdout(&output).contains("1 of 3 runs are finished"), "{}", stdout(&output));
    }
    let html = std::fs::read_to_string(out.join("comparison.html")).expect("a page");
    assert!(html.contains("failed after epoch 0 of 2: the loss is"));
    // What takes its place has not failed.
    let replaced = small(&out.join("s3"), &["--overwrite", "--lr", "0.1", "--quiet"])
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    succeed(&replaced.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!out.join("s3/failed.txt").exists());
    // Nor is it the experiment's.
    let taken = shiftnet(&line(&file, &out));
    assert_refused(
        "another run",
        &taken,
        2,
        &["s3 holds a run with another limit than the experiment's", "--out"],
    );
}

/// Waits until a file is there, and fails after two minutes.
fn wait_for(file: &Path) {
    let began = Instant::now();
    while !file.exists() {
        assert!(began.elapsed() < Duration::from_secs(120), "{} did not come", file.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What the comparison says of the finished experiment.
fn compared(out: &Path) {
    let json = comparison(out);
    let groups = json["groups"].as_array().expect("groups");
    let names: Vec<&str> = groups.iter().map(|g| g["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["s3", "tuned", "full"]);
    // By hand, from the metrics of the two seeds.
    let last = |run: &str| -> f64 {
        let metrics = std::fs::read_to_string(out.join(run).join("metrics.jsonl")).expect("metrics");
        let line: Value = serde_json::from_str(metrics.lines().last().expect("an epoch")).expect("JSON");
        line["val_loss"].as_f64().expect("a number")
    };
    let (a, b) = (last("s3-seed0"), last("s3-seed1"));
    let loss = &groups[0]["val_loss"];
    let number = |key: &str| loss[key].as_f64().expect("a number");
    assert!((number("mean") - (a + b) / 2.0).abs() < 1e-9 && a != b, "{loss}");
    assert!((number("std") - (a - b).abs() / 2f64.sqrt()).abs() < 1e-9, "{loss}");
    assert_eq!((&loss["n"], &groups[1]["val_loss"]["n"]), (&2.into(), &1.into()));
    assert!(groups[1]["val_loss"]["std"].is_null());
    assert_eq!(groups[0]["published"][0]["top1"], 12.5);
    let html = std::fs::read_to_string(out.join("comparison.html")).expect("a page");
    for part in ["It can be killed &amp; continued.", "href=\"s3-seed1/report.html\"", "12.50", "<svg"] {
        assert!(html.contains(part), "{part}");
    }
}

/// An experiment goes on as it was begun.
fn refused(file: &Path, out: &Path) {
    let with = |more: &[&str]| shiftnet(&[&line(file, out)[..], more].concat());
    let expected = ["without --set", "with --set epochs = 3", "another --out"];
    assert_refused("--set", &with(&["--set", "epochs=3"]), 2, &expected);
    assert_refused("--smoke", &with(&["--smoke"]), 2, &["without --smoke", "another --out"]);
    std::fs::write(file, TINY.replace("lr = 0.05", "lr = 0.06")).expect("a small file");
    assert_refused("an edit", &with(&[]), 2, &["`lr` of run `tuned` was 0.05", "another --out"]);
}

/// Overrides and `--smoke` are in the record and in the report.
#[test]
fn tried_with_overrides() {
    let directory = temporary();
    let file = tiny(directory.path());
    let out = directory.path().join("try");
    let more = ["--smoke", "--set", "epochs=1", "--set", "limit-val=8", "--set", "lr=0.1"];
    let output = succeed(&[&line(&file, &out)[..], &more].concat());
    for said in [stderr(&output), stdout(&output)] {
        assert!(said.contains("Its numbers are no results"), "{said}");
    }
    let html = std::fs::read_to_string(out.join("comparison.html")).expect("a page");
    assert!(
        html.contains("Its numbers are no results") && html.contains("epochs = 1, limit-val = 8, lr = 0.1")
    );
    assert_eq!(comparison(&out)["smoke"], true);
    // So are they where its runs are looked at alone.
    let [one, other, two] = [out.join("s3"), out.join("tuned"), directory.path().join("two")];
    let html = std::fs::read_to_string(one.join("report.html")).expect("a page");
    assert!(html.contains("Its numbers are no results"), "{html}");
    succeed(&["report", text(&one), text(&other), "--out", text(&two)]);
    assert_eq!(comparison(&two)["smoke"], true);
    // A list that was replaced gives no name.
    let config = std::fs::read_to_string(out.join("s3/config.toml")).expect("a run");
    for setting in ["dataset = \"synthetic\"", "epochs = 1\n", "limit = 48\n", "lr = 0.1"] {
        assert!(config.contains(setting), "{setting}: {config}");
    }
    let list = stdout(&succeed(&[&line(&file, &out)[..], &more, &["--list"]].concat()));
    assert!(list.contains("s3: finished, 3 steps") && list.contains("tuned: finished"), "{list}");
    // Where data is named, a try takes the built-in images too; so does one that was stopped before its first checkpoint.
    let out = directory.path().join("with data");
    let with_data = [&line(&file, &out)[..], &more, &["--data", text(directory.path())]].concat();
    succeed(&with_data);
    for name in ["last.safetensors", "best.safetensors"] {
        std::fs::remove_file(out.join("s3").join(name)).expect("it is there");
    }
    succeed(&with_data);
}

/// Each mistake names the file and the key, and nothing is written.
#[test]
fn mistakes() {
    let directory = temporary();
    let out = directory.path().join("out");
    let cases: [(&str, &str, &[&str]); 6] = [
        ("lr = 0.05", "rate = 0.05", &["run `tuned`", "`rate`"]),
        ("method = 'fp32'", "method = 'fp33'", &["run `tuned`", "`method`", "`fp33`"]),
        ("name = 'full'", "name = 's3-seed1'", &["two runs are called `s3-seed1`"]),
        ("seed = [0, 1]", "init-from = 'run:tuned'", &["`init-from` goes in a circle", "`tuned`, `s3`"]),
        ("init-from = 'run:s3'", "init-from = 'run:s4'", &["run `tuned`", "`run:s4`"]),
        ("claim =", "claims =", &["claims"]),
    ];
    let file = directory.path().join("wrong.toml");
    for (from, to, expected) in cases {
        std::fs::write(&file, TINY.replacen(from, to, 1)).expect("a small file");
        let output = shiftnet(&line(&file, &out));
        assert_refused(to, &output, 2, &[&["experiment wrong: "], expected].concat());
    }
    assert_refused(
        "no name",
        &shiftnet(&["experiment", "table3"]),
        2,
        &["`table3`", "cifar10-methods", "--list"],
    );
    assert!(!out.exists(), "something was written");
    let list = stdout(&succeed(&["experiment"]));
    assert!(
        list.contains("table1-resnet18: ") && list.contains("bits: Bits of a weight (15 runs)"),
        "{list}"
    );
    // A run that is there already is nobody's to take.
    let run = crate::copy(directory.path());
    let taken = shiftnet(&line(&tiny(directory.path()), &run));
    assert_refused("a run", &taken, 2, &["holds a run that is of no experiment", "--out"]);
}

/// A finished and an unfinished run, side by side.
#[test]
fn report_of_two_runs() {
    let directory = temporary();
    let run = crate::copy(directory.path());
    let other = directory.path().join("other");
    succeed(&small(&other, &["--max-steps", "2", "--method", "fp32", "--quiet"]));
    let config = other.join("config.toml");
    let unlimited = std::fs::read_to_string(&config).expect("a run").replace("max-steps = 2\n", "");
    std::fs::write(&config, unlimited).expect("a small file");
    let output = succeed(&["report", text(&run), text(&other)]);
    let said = stdout(&output);
    for part in
        ["2 runs: 1 of 2 runs are finished", "n = 1, at epoch 1", "comparison.html", "comparison.json"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let json = comparison(directory.path());
    let states: Vec<&Value> =
        json["runs"].as_array().expect("runs").iter().map(|run| &run["state"]).collect();
    assert_eq!(states, ["finished", "unfinished"]);
    let differences = json["differences"].as_array().expect("differences");
    let method = differences.iter().find(|d| d["setting"] == "method").expect("another method");
    assert_eq!(method["values"], serde_json::json!(["s3", "fp32"]));
    let html = std::fs::read_to_string(directory.path().join("comparison.html")).expect("a page");
    for part in ["href=\"other/report.html\"", "unfinished: epoch 1 of 2", "href=\"copy/report.html\""] {
        assert!(html.contains(part), "{part}");
    }
    assert!(other.join("report.html").exists());
    let twice = shiftnet(&["report", text(&run), text(&run)]);
    assert_refused("twice", &twice, 2, &["named twice"]);
    let last = shiftnet(&["report", text(&run), text(&other), "--checkpoint", "last"]);
    assert_refused("which weights", &last, 2, &["--checkpoint is for the report of one run"]);
    let place = shiftnet(&["report", text(&run), "--out", text(&other)]);
    assert_refused("a place", &place, 2, &["--out is where a comparison of several runs goes"]);
    let none = shiftnet(&["report", text(finished()), text(directory.path())]);
    assert_refused("no run", &none, 1, &["holds no run"]);
}
