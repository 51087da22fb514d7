//! Where a run may be written.

use crate::{assert_refused, copy, files, finished, shiftnet, small, stderr, succeed, temporary, text};
#[cfg(target_os = "linux")]
use std::process::Command;

#[test]
fn a_directory_that_holds_a_run() {
    let directory = temporary();
    let run = copy(directory.path());
    let before = files(&run);
    let output = shiftnet(&small(&run, &[]));
    assert_refused(
        "a run in --out",
        &output,
        2,
        &["already holds a run", "--resume", "--overwrite", "--out"],
    );
    assert!(files(&run) == before, "something was written");
    succeed(&small(&run, &["--overwrite", "--max-steps", "0"]));
    let after = files(&run);
    // Weights within an epoch are no best.
    assert!(after != before && after.len() == 3, "replaced");
}

#[test]
fn places_that_cannot_be_written() {
    let directory = temporary();
    let file = directory.path().join("file");
    std::fs::write(&file, "keep me").expect("a small file");
    let below = file.join("run");
    let mut cases = vec![(file.clone(), "file stands where a directory is expected"), (below, "is expected")];
    if cfg!(target_os = "linux") {
        cases.push(("/proc/run".into(), "could not create /proc/run"));
    }
    for (out, expected) in cases {
        let output = shiftnet(&small(&out, &[]));
        assert_refused(text(&out), &output, 1, &["could not ", text(&out), expected]);
    }
    assert_eq!(files(directory.path()), [("file".into(), b"keep me".to_vec())]);
}

/// A disk that is full from the start, and one that fills up at the first checkpoint.
#[test]
#[cfg(target_os = "linux")]
fn full_disks() {
    let directory = temporary();
    let disk = directory.path().join("disk");
    std::fs::create_dir(&disk).expect("a new directory");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs", text(&disk)]).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let unmounted = Unmount(&disk);
    let out = disk.join("run");
    let output = shiftnet(&small(&out, &[]));
    let expected = ["could not write", "last.safetensors", "No space left", "Free some space", "--out"];
    let expected = if stderr(&output).contains("best.safetensors") { &expected[2..] } else { &expected[..] };
    let kept: Vec<String> = files(&out).into_iter().map(|(name, _)| name).collect();
    // From the start: not even a page is left.
    let fill = std::fs::write(disk.join("filler"), vec![1; 1 << 20]);
    let empty = disk.join("other");
    let none = shiftnet(&small(&empty, &[]));
    drop(unmounted);
    assert_refused("a disk that fills up", &output, 1, expected);
    assert_eq!(kept, ["config.toml", "metrics.jsonl"], "nothing half-written");
    assert!(fill.is_err());
    assert_refused("a full disk", &none, 1, &["other", "No space left", "Free some space", "--out"]);
}

#[cfg(target_os = "linux")]
struct Unmount<'a>(&'a std::path::Path);

#[cfg(target_os = "linux")]
impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let directory = temporary();
    let out = directory.path().join("run");
    let output = succeed(&small(&out, &["--dry-run"]));
    let plan = crate::stdout(&output);
    assert!(plan.contains("Forward: ") && plan.contains("memory: "), "{plan}");
    assert_eq!(files(directory.path()), []);
    let count = |plan: &str| -> usize {
        let line = plan.lines().find_map(|line| line.strip_prefix("a training step: "));
        line.and_then(|line| line.split(' ').next()?.parse().ok()).expect("a number of dispatches")
    };
    let twice = crate::stdout(&succeed(&small(&out, &["--dry-run", "--accumulate", "2"])));
    // The update comes once.
    assert!(count(&twice) > count(&plan) * 3 / 2 && count(&twice) < count(&plan) * 2, "{twice}");
    // Nor does one of a resume, even where the metrics have lines to cut; nor over a run.
    let run = copy(directory.path());
    let metrics = run.join("metrics.jsonl");
    let torn = std::fs::read_to_string(&metrics).expect("metrics") + "{\"event\":\"st";
    std::fs::write(&metrics, torn).expect("a small file");
    let before = files(&run);
    let output = succeed(&["train", "--resume", text(&run), "--epochs", "3", "--dry-run"]);
    assert!(crate::stdout(&output).contains("would continue"), "{}", crate::stdout(&output));
    succeed(&small(&run, &["--dry-run", "--overwrite"]));
    assert!(files(&run) == before, "something was written");
}

#[test]
fn a_finished_run_says_so() {
    let directory = temporary();
    let run = copy(directory.path());
    let before = files(&run);
    let output = succeed(&["train", "--resume", text(&run)]);
    assert!(stderr(&output).contains("is finished: 4 steps, 2 epochs"), "{}", stderr(&output));
    assert!(files(&run) == before, "something was written");
    // It needs neither its data nor its adapter for that.
    let config =
        String::from_utf8(std::fs::read(run.join("config.toml")).expect("it is there")).expect("UTF-8");
    let elsewhere = config
        .replace("dataset = \"synthetic\"", "dataset = \"cifar10\"\ndata = \"/nowhere\"")
        .replace("[adapter]\nname = \"", "[adapter]\nname = \"lost ");
    assert!(elsewhere.contains("/nowhere") && elsewhere.contains("lost "), "{config}");
    std::fs::write(run.join("config.toml"), elsewhere).expect("a small file");
    let output = succeed(&["train", "--resume", text(&run)]);
    assert!(stderr(&output).contains("is finished: 4 steps, 2 epochs"), "{}", stderr(&output));
    std::fs::write(run.join("config.toml"), config).expect("a small file");
    assert!(files(finished()) == before);
}

/// No step at all: the initial weights, evaluated and saved.
#[test]
fn no_steps() {
    let directory = temporary();
    let run = directory.path().join("run");
    succeed(&small(&run, &["--max-steps", "0"]));
    let before = files(&run);
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    assert!(metrics.lines().count() == 1 && metrics.contains("\"event\":\"epoch\""), "{metrics}");
    let output = succeed(&["train", "--resume", text(&run)]);
    assert!(stderr(&output).contains("is finished: 0 steps"), "{}", stderr(&output));
    assert!(files(&run) == before, "something was written");
    // It can be extended, and is then a run like any other, whose steps are all of its epochs' where these are asked for.
    succeed(&["train", "--resume", text(&run), "--max-steps", "3", "--quiet"]);
    let output = succeed(&["train", "--resume", text(&run), "--max-steps", "3"]);
    assert!(stderr(&output).contains("with a larger --max-steps, or with --epochs"), "{}", stderr(&output));
    succeed(&["train", "--resume", text(&run), "--epochs", "2", "--quiet"]);
    let [ours, whole] =
        [&run, finished()].map(|run| std::fs::read(run.join("last.safetensors")).expect("it"));
    assert!(ours == whole);
}
