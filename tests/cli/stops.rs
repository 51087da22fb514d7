//! Runs that are interrupted or killed, and go on.

use crate::{assert_refused, command, files, shiftnet, stdout, succeed, temporary, text};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// 18 steps in three epochs, a checkpoint every other step.
fn line<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = "train -a resnet8 -b 8 --accumulate 2 --limit 50 --limit-val 8 --epochs 3 --log-every 1 \
                 --checkpoint-every 2 --lr 0.1 --quiet --out";
    fixed.split_whitespace().chain([text(out)]).chain(more.iter().copied()).collect()
}

fn read(run: &Path, name: &str) -> Vec<u8> {
    std::fs::read(run.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The lines of the metrics; none is torn.
fn metrics(run: &Path) -> Vec<Value> {
    let text = String::from_utf8(read(run, "metrics.jsonl")).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line: {text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// What equal runs share of their metrics: everything but the speed.
fn without_speed(run: &Path) -> Vec<Value> {
    let strip = |mut line: Value| {
        let fields = line.as_object_mut().expect("an object");
        fields.retain(|key, _| !["images_per_s", "data_wait_s"].contains(&key.as_str()));
        line
    };
    metrics(run).into_iter().map(strip).collect()
}

/// Waits until `done`, and fails after two minutes.
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(unix)]
fn interrupt(child: &std::process::Child) {
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill is there").success());
}

/// Ctrl-C saves within an epoch, says how to continue, and ends with 130.
#[test]
#[cfg(unix)]
fn interrupted() {
    let directory = temporary();
    let [whole, run] = ["whole", "run"].map(|name| directory.path().join(name));
    succeed(&line(&whole, &[]));
    let arguments = line(&run, &[]);
    let arguments: Vec<&str> = arguments.into_iter().filter(|argument| *argument != "--quiet").collect();
    let child = command(&arguments).spawn().expect("it starts");
    wait_until("the first step", || run.join("metrics.jsonl").exists());
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    let log = crate::stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{log}");
    assert!(log.contains("interrupted: finishing this step") && log.contains("saved at step "), "{log}");
    assert!(log.contains(&format!("shiftnet train --resume {}", text(&run))), "{log}");
    assert!(files(&run).iter().all(|(name, _)| !name.ends_with(".tmp")));
    let done = metrics(&run).last().expect("a step")["step"].as_u64().expect("a number");
    assert!((1..18).contains(&done), "{done}");
    succeed(&["train", "--resume", text(&run), "--quiet"]);
    assert!(read(&run, "last.safetensors") == read(&whole, "last.safetensors"));
    assert_eq!(without_speed(&run), without_speed(&whole));
}

/// Two processes do not train one run.
#[test]
fn a_run_is_trained_once_at_a_time() {
    let directory = temporary();
    let run = directory.path().join("run");
    let mut child = command(&line(&run, &["--epochs", "1000"])).spawn().expect("it starts");
    wait_until("the first step", || run.join("metrics.jsonl").exists());
    let busy = ["is being trained by another process"];
    for more in [&["--resume", text(&run)][..], &["--overwrite", "--out", text(&run)]] {
        let second = shiftnet(&[&["train"], more].concat());
        assert_refused(&format!("{more:?}"), &second, 2, &busy);
    }
    let asked = stdout(&succeed(&["train", "--resume", text(&run), "--dry-run", "--quiet"]));
    assert!(asked.contains("would continue"), "{asked}");
    child.kill().and_then(|()| child.wait()).expect("it ends");
    // The kernel lets go of what a killed process held.
    succeed(&["train", "--resume", text(&run), "--quiet", "--epochs", "1"]);
}

/// A run whose checkpoint has gone does not begin anew over what it has logged.
#[test]
fn a_lost_checkpoint_is_missed() {
    let directory = temporary();
    let run = directory.path().join("run");
    succeed(&line(&run, &[]));
    std::fs::remove_file(run.join("last.safetensors")).expect("a checkpoint");
    let before = files(&run);
    let resume = ["train", "--resume", text(&run), "--epochs", "4"];
    assert_refused(
        "no last",
        &shiftnet(&resume),
        1,
        &["last.safetensors", "second epoch or later", "--init-from"],
    );
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/no/such/volume", run.join("last.safetensors")).expect("a new link");
        assert_refused("a link", &shiftnet(&resume), 1, &["leads to a file that cannot be found"]);
        std::fs::remove_file(run.join("last.safetensors")).expect("a link");
    }
    assert!(files(&run) == before);
}

/// Kills at moments spread over the whole run, in start-up, steps, evaluation and writes: what is left resumes,
/// and ends as if nothing had happened. `SHIFTNET_KILLS` says how often, 3 without it.
#[test]
fn killed_at_any_moment() {
    let kills = std::env::var("SHIFTNET_KILLS").map_or(3, |kills| kills.parse().expect("a number of kills"));
    let directory = temporary();
    let whole = directory.path().join("whole");
    let began = Instant::now();
    succeed(&line(&whole, &[]));
    let time = began.elapsed();
    for kill in 0..kills {
        let run = directory.path().join(format!("killed {kill}"));
        // The golden ratio's multiples are spread evenly, however many there are.
        let share = (0.35 + f64::from(kill) * 0.618_034) % 1.0;
        let mut child = command(&line(&run, &[])).spawn().expect("it starts");
        std::thread::sleep(time.mul_f64(0.95 * share));
        child.kill().expect("it can be killed");
        let killed = !child.wait().expect("it ends").success();
        let at = if run.join("metrics.jsonl").exists() {
            read(&run, "metrics.jsonl").iter().filter(|b| **b == b'\n').count()
        } else {
            0
        };
        eprintln!(
            "kill {kill} after {:.2} s: {killed}, {at} lines of metrics",
            time.as_secs_f64() * 0.95 * share
        );
        finish(&run);
        assert!(read(&run, "last.safetensors") == read(&whole, "last.safetensors"), "kill {kill}");
        assert!(read(&run, "best.safetensors") == read(&whole, "best.safetensors"), "kill {kill}");
        assert_eq!(without_speed(&run), without_speed(&whole), "kill {kill}");
        assert!(files(&run).iter().all(|(name, _)| !name.ends_with(".tmp")), "kill {kill}");
    }
}

/// Resumes `run`, or begins it where it was killed before there was one.
fn finish(run: &Path) {
    match run.join("config.toml").exists() {
        true => succeed(&["train", "--resume", text(run), "--quiet"]),
        false => succeed(&line(run, &[])),
    };
}

/// Lines past the checkpoint and a torn one are cut from the metrics; steps stay in order, none twice.
#[test]
fn metrics_after_a_resume() {
    let directory = temporary();
    let run = directory.path().join("run");
    succeed(&line(&run, &["--max-steps", "5"]));
    let path = run.join("metrics.jsonl");
    let mut text_of = String::from_utf8(read(&run, "metrics.jsonl")).expect("UTF-8");
    text_of += "{\"event\":\"step\",\"epoch\":0,\"step\":6,\"loss\":99.0,\"lr\":0.1,\"images_per_s\":1.0}\n{\"event\":\"st";
    std::fs::write(&path, text_of).expect("a small file");
    // What a kill leaves of a file that it was writing.
    for name in [".last.safetensors.tmp", ".best.safetensors.tmp", ".metrics.jsonl.tmp", ".config.toml.tmp"] {
        std::fs::write(run.join(name), "half").expect("a small file");
    }
    succeed(&["train", "--resume", text(&run), "--max-steps", "18", "--quiet"]);
    let lines = metrics(&run);
    let steps = |lines: &[Value]| -> Vec<u64> {
        let steps = lines.iter().filter(|line| line["event"] == "step");
        steps.map(|line| line["step"].as_u64().expect("a number")).collect()
    };
    assert_eq!(steps(&lines), (1..=18).collect::<Vec<u64>>());
    assert!(lines.iter().all(|line| line["loss"] != 99.0));
    assert_eq!(
        files(&run).into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ["best.safetensors", "config.toml", "last.safetensors", "metrics.jsonl"]
    );
    // A second resume finds it finished.
    let before = files(&run);
    assert!(shiftnet(&["train", "--resume", text(&run)]).status.success());
    assert!(files(&run) == before);
}
