//! The program itself: exit codes, messages, what it writes, and that it can be stopped at any moment.

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod checkpoints;
mod commands;
mod data;
mod deploy;
mod errors;
mod experiment;
mod places;
mod report;
mod stops;
mod tensorboard;
mod variants;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The program with `arguments`, its output captured.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shiftnet"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // No test depends on what an earlier run has kept.
    command.env("SHIFTNET_CACHE", "");
    command
}

/// Runs the program to its end.
fn shiftnet(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

/// Runs the program and expects it to succeed.
fn succeed(arguments: &[&str]) -> Output {
    let output = shiftnet(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What keeps a training run small: two epochs of two steps.
const SMALL: &[&str] = &[
    "train",
    "-a",
    "resnet8",
    "-b",
    "4",
    "--limit",
    "8",
    "--limit-val",
    "8",
    "--epochs",
    "2",
    "--log-every",
    "1",
];

/// The command line of a small run in `out`, with further arguments.
fn small<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [SMALL, &["--out", text(out)], more].concat()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A finished small run, made once. Nothing may change it.
fn finished() -> &'static Path {
    static RUN: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let directory = temporary();
        let run = directory.path().join("run");
        succeed(&small(&run, &["--quiet"]));
        (directory, run)
    });
    run
}

/// A copy of [`finished`] to change, in `directory`.
fn copy(directory: &Path) -> PathBuf {
    let run = directory.join("copy");
    std::fs::create_dir(&run).expect("a new directory");
    for (name, bytes) in files(finished()) {
        std::fs::write(run.join(name), bytes).expect("a small file");
    }
    run
}

/// Name and contents of each file in `directory`, sorted; but for the lock of a run, which is empty.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("files have names").to_string_lossy().into_owned();
        (name, std::fs::read(&path).expect("a readable file"))
    };
    let mut files: Vec<_> = std::fs::read_dir(directory).expect("a directory").map(read).collect();
    files.retain(|(name, bytes)| name != ".lock" || !bytes.is_empty());
    files.sort();
    files
}

/// Fails unless the program refused with `code`, and its last words are one paragraph that begins with `error:` and
/// holds all of `expected`.
fn assert_refused(what: &str, output: &Output, code: i32, expected: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{what}: {message}");
    assert!(!message.contains("panicked"), "{what}: {message}");
    let begin = format!("\n{message}").find("\nerror: ");
    let error = &message[begin.unwrap_or_else(|| panic!("{what}: no error in: {message}"))..];
    // The argument parser adds its usage, and where to find help.
    let parser = error.contains("\nFor more information, try '--help'.");
    assert!(parser || !error.trim_end().contains("\n\n"), "{what}: more than a paragraph: {error}");
    for expected in expected {
        assert!(error.contains(expected), "{what}: `{expected}` is not in: {error}");
    }
}
