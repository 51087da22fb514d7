//! `shiftnet bench` and `train --profile`: what they print and write, and their exit codes.

use crate::{assert_refused, shiftnet, small, stderr, stdout, succeed, temporary, text};
use serde_json::Value;
use std::path::Path;

/// The words of a small benchmark on the host engine: what to measure, and further arguments.
fn quick<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let (what, more) = arguments.split_first().expect("what to measure");
    let mut line = vec!["bench", what, "-a", "resnet8", "-b", "2", "--adapter", "host"];
    if !more.contains(&"--seconds") {
        line.extend(["--seconds", "0.01"]);
    }
    line.extend(more);
    line
}

fn run(arguments: &[&str]) -> std::process::Output {
    shiftnet(&quick(arguments))
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("it was written");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Fails unless `times` are those of a measurement.
fn assert_times(times: &Value) {
    assert!(times["median"].as_f64().is_some_and(|ms| ms > 0.0), "{times}");
    assert!(times["spread"].as_f64().is_some_and(|ms| ms >= 0.0), "{times}");
    assert!(times["samples"].as_u64().is_some_and(|n| n >= 2), "{times}");
}

/// Everything at once: the record has what others read, and what it says of a network holds together.
#[test]
fn a_record_of_everything_holds_together() {
    let directory = temporary();
    let path = directory.path().join("all.json");
    let output = run(&["all", "--json", text(&path)]);
    assert!(output.status.success(), "{}", stderr(&output));
    for word in ["ceilings", "conv2d_forward", "layer1.0.conv1", "training", "inference", "s3 3-bit", "fp32"]
    {
        assert!(stdout(&output).contains(word), "{word}: {}", stdout(&output));
    }
    let record = json(&path);
    assert_eq!((&record["tool"], &record["adapter"]["kind"]), (&"shiftnet".into(), &"host".into()));
    for ceiling in ["copy_gb_per_s", "fma_f32_gflop_per_s", "gemm_f32_gflop_per_s"] {
        assert!(record["ceilings"][ceiling].as_f64().is_some_and(|rate| rate > 0.0), "{record}");
    }
    let kernels = record["kernels"].as_array().expect("an array");
    let of_step: f64 = kernels.iter().filter_map(|k| k["share_of_step"].as_f64()).sum();
    assert!((of_step - 1.0).abs() < 1e-6, "{of_step}");
    for kernel in kernels {
        assert_times(&kernel["ms"]);
        assert_eq!(kernel["checked"], true, "{kernel}");
        assert!(kernel["share"].as_f64().is_some_and(|share| share > 0.0), "{kernel}");
    }
    let [train, infer] = ["train", "infer"].map(|key| record[key].as_array().expect("an array").clone());
    let trained = [("s3", "fp32"), ("fp32", "fp32")];
    // And as they are deployed.
    let deployed = [
        ("s3", "fp32 packed"),
        ("s3", "int8 dp4a"),
        ("s3", "int8 shift"),
        ("s3", "int16 shift"),
        ("fp32", "fp32 folded"),
    ];
    for (runs, forms) in [(&train, trained.to_vec()), (&infer, [&trained[..], &deployed].concat())] {
        let form =
            |run: &Value| ["method", "precision"].map(|key| run[key].as_str().expect("text").to_string());
        let found: Vec<_> = runs.iter().map(form).collect();
        assert_eq!(found.iter().map(|[m, p]| (m.as_str(), p.as_str())).collect::<Vec<_>>(), forms);
        for run in runs {
            assert_times(&run["ms"]);
            let [ms, rate] =
                [&run["ms"]["median"], &run["images_per_s"]].map(|v| v.as_f64().expect("numbers"));
            assert!((rate - 2.0 / ms * 1e3).abs() < 1e-6 * rate, "{run}");
        }
        assert!(runs[0]["time_over_fp32"].as_f64().is_some_and(|ratio| ratio > 0.0));
    }
    for phase in ["forward", "backward", "update"] {
        assert!(train[0]["phases_ms"][phase].as_f64().is_some_and(|ms| ms > 0.0), "{}", train[0]);
    }
}

/// A record is compared with itself made faster and slower, and with others that it has nothing to do with.
#[test]
fn what_became_slower_fails() {
    let directory = temporary();
    let path = directory.path().join("now.json");
    let output = run(&["infer", "--method", "fp32", "--json", text(&path)]);
    assert!(output.status.success(), "{}", stderr(&output));
    let record = json(&path);
    let old = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut record = record.clone();
        change(&mut record);
        let path = directory.path().join(name);
        std::fs::write(&path, record.to_string()).expect("a small file");
        path
    };
    let median = |ms: f64| {
        move |record: &mut Value| {
            for run in record["infer"].as_array_mut().expect("an array") {
                run["ms"]["median"] = ms.into();
                run["ms"]["spread"] = 0.0.into();
            }
        }
    };
    // Times that no machine reaches, and that every machine does.
    let slow = old("slow.json", &median(1e9));
    let output = run(&["infer", "--method", "fp32", "--compare", text(&slow)]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("nothing of 2 became slower"), "{}", stdout(&output));
    let fast = old("fast.json", &median(1e-9));
    let output = run(&["infer", "--method", "fp32", "--compare", text(&fast)]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains("2 of 2 became slower"), "{}", stdout(&output));

    let other = old("other.json", &|record| {
        record["infer"].as_array_mut().expect("an array").iter_mut().for_each(|run| run["batch"] = 3.into());
    });
    let elsewhere = old("elsewhere.json", &|record| record["adapter"]["name"] = "another".into());
    for (path, expected) in
        [(other, "nothing of what was measured"), (elsewhere, "the old record is of another")]
    {
        let output = run(&["infer", "--method", "fp32", "--compare", text(&path)]);
        assert_refused(text(&path), &output, 2, &[expected]);
    }
}

#[test]
fn mistakes_are_refused() {
    let directory = temporary();
    let empty = directory.path().join("empty.json");
    std::fs::write(&empty, "{}").expect("a small file");
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["convolutions"], 2, &["convolutions", "kernels"]),
        (&["infer", "--seconds", "0"], 2, &["--seconds is 0", "positive"]),
        (&["infer", "--bits", "9"], 2, &["--bits is 9"]),
        (&["infer", "--plot", "x.svg"], 2, &["--plot", "bench scale"]),
        (&["scale", "--plot", "x.png"], 2, &["--plot is x.png", ".svg"]),
        (&["infer", "--compare", "/nowhere.json"], 1, &["/nowhere.json"]),
        (&["infer", "--compare", text(&empty)], 1, &["empty.json", "no record of a benchmark"]),
    ];
    for (arguments, code, expected) in cases {
        assert_refused(&format!("{arguments:?}"), &run(arguments), *code, expected);
    }
    let large = shiftnet(&["bench", "infer", "-a", "resnet8", "--adapter", "host", "-b", "4294967295"]);
    assert_refused("a large batch", &large, 2, &["--batch-size is 4294967295", "at most 1048576"]);
}

/// One command, one table, one drawing, one file.
#[test]
fn scale_draws_what_it_records() {
    let directory = temporary();
    let [plot, path] = ["scale.svg", "scale.json"].map(|name| directory.path().join(name));
    let output = run(&["scale", "--plot", text(&plot), "--json", text(&path)]);
    assert!(output.status.success(), "{}", stderr(&output));
    let record = json(&path);
    let points = record["scale"].as_array().expect("points");
    for sweep in ["batch", "depth", "bits"] {
        assert!(points.iter().any(|point| point["sweep"] == sweep), "{sweep}: {record}");
        assert!(stdout(&output).lines().any(|line| line.starts_with(sweep)), "{}", stdout(&output));
    }
    for point in points {
        assert_times(&point["ms"]);
        assert!(point["plan_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 16), "{point}");
    }
    let drawing = std::fs::read_to_string(&plot).expect("it was written");
    assert_eq!(drawing.matches("<svg ").count(), 7, "six panels");
    assert_eq!(drawing.matches("<circle").count(), 2 * points.len());
}

/// The profile is of real steps: what is trained is the same with it, and the trace has every dispatch.
#[test]
fn a_profile_has_every_dispatch_and_changes_no_training() {
    let directory = temporary();
    let [plain, profiled, named] = ["plain", "profiled", "named"].map(|name| directory.path().join(name));
    succeed(&small(&plain, &["--quiet"]));
    let output = succeed(&small(&profiled, &["--profile"]));
    for word in ["profile of 3 steps", "conv2d_forward", "layer3.0.conv2", "GFLOP/s", "profile.json"] {
        assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output));
    }
    let weights = |run: &Path| std::fs::read(run.join("last.safetensors")).expect("a checkpoint");
    assert!(weights(&plain) == weights(&profiled), "profiling changed the training");
    let trace = json(&profiled.join("profile.json"));
    let events = trace["traceEvents"].as_array().expect("an array");
    let on = |track: u64| events.iter().filter(|e| e["ph"] == "X" && e["tid"] == track).collect::<Vec<_>>();
    let (kernels, lists) = (on(1), on(2));
    assert!(!kernels.is_empty() && kernels.len() % 3 == 0, "{} dispatches in 3 steps", kernels.len());
    assert_eq!(lists.iter().filter(|event| event["name"] == "update").count(), 3);
    let updates = kernels.iter().filter(|event| event["name"] == "s3_update");
    assert_eq!(updates.map(|event| &event["args"]["step"]).collect::<Vec<_>>(), [0, 1, 2]);
    // To another file, with fewer steps than it would like.
    let file = directory.path().join("trace.json");
    let output = succeed(&small(&named, &["--max-steps", "1", "--profile", text(&file)]));
    assert!(stderr(&output).contains("profile of 1 steps"), "{}", stderr(&output));
    assert!(file.exists() && !named.join("profile.json").exists());
}
