//! The command line: one file a command, with its arguments and what it does.

pub mod arith;
pub mod bench;
pub mod data;
pub mod devices;
pub mod eval;
pub mod experiment;
pub mod export;
pub mod infer;
pub mod inspect;
pub mod interrupt;
pub mod progress;
pub mod report;
pub mod train;

use crate::error::{Error, Result};
use crate::files;
use crate::train::{Flags, RunDir};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Trains and runs networks whose weights are 0, ±1, ±2, ±4 (sign-sparse-shift, S³), on any GPU.
#[derive(Debug, Parser)]
#[command(version = crate::VERSION, infer_long_args = false)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the adapters that can be chosen
    Devices(devices::Args),
    /// Train a network
    Train(Box<train::Args>),
    /// Train the networks of an experiment, and compare them
    Experiment(experiment::Args),
    /// Measure loss and accuracy of a run or a weight file
    Eval(eval::Args),
    /// Name what images show, with a packed model
    Infer(infer::Args),
    /// Write a trained network for use: packed, ONNX or safetensors
    Export(export::Args),
    /// Prepare datasets
    Data(data::Args),
    /// Show what is inside a run or a weight file
    Inspect(inspect::Args),
    /// Write a run's report.html, or compare several runs
    Report(report::Args),
    /// Measure kernels, training steps and inference
    Bench(bench::Args),
}

/// What the standard output is called in errors.
const OUTPUT: &str = "the standard output";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// `bench --compare` found something slower: exit code 1.
    Slower,
    /// Runs of an experiment failed, or images could not be read, and it said which: exit code 1.
    Failed,
    /// By Ctrl-C, with everything saved: exit code 130.
    Interrupted,
}

/// The command line, with the defaults of the settings in the help.
fn command() -> clap::Command {
    let defaults = Flags::default().resolve().expect("the defaults are legal");
    let defaults = toml::to_string(&defaults).expect("settings are plain data");
    let default = |name: &str| {
        let line = defaults.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches('"').to_string())
    };
    let explain = |arg: clap::Arg| match (default(&arg.get_id().as_str().replace('_', "-")), arg.get_help()) {
        (Some(value), Some(help)) if !help.to_string().contains("[default: ") => {
            let help = format!("{help} [default: {value}]");
            arg.help(help)
        }
        _ => arg,
    };
    // The last of several wins, so that scripts can pass on what they are given.
    Cli::command().mut_subcommand("train", |train| train.mut_args(explain).args_override_self(true))
}

/// Parses the arguments (with what the shells of Windows leave to programs, `*.png`, replaced by the files), runs their command and prints its error, if any.
pub fn run() -> ExitCode {
    let cli = Cli::from_arg_matches(&command().get_matches_from(wild::args_os()))
        .unwrap_or_else(|error| error.exit());
    let filter = tracing_subscriber::EnvFilter::try_from_env("SHIFTNET_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    tracing::info!("shiftnet {} starts", crate::VERSION);
    let result = match cli.command {
        Some(Command::Devices(args)) => devices::run(&args),
        Some(Command::Train(args)) => train::run(*args),
        Some(Command::Experiment(args)) => experiment::run(&args),
        Some(Command::Eval(args)) => eval::run(&args),
        Some(Command::Infer(args)) => infer::run(&args),
        Some(Command::Export(args)) => export::run(&args),
        Some(Command::Data(args)) => data::run(&args),
        Some(Command::Inspect(args)) => inspect::run(&args),
        Some(Command::Report(args)) => report::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
        None => command().print_help().map(|()| Outcome::Done).map_err(|e| Error::io("write", OUTPUT, e)),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Slower | Outcome::Failed) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // The reader of our output has gone; there is nobody to tell.
        Err(Error::Io { source, path, .. })
            if path.as_os_str() == OUTPUT && source.kind() == std::io::ErrorKind::BrokenPipe =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Where even this cannot be written, the exit code still says it.
            progress::eprintln_lossy(&format!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// What files say, without what would steer a terminal.
fn printable(text: &str) -> String {
    text.replace("\r\n", "\n").replace(|c: char| c.is_control() && !"\n\t".contains(c), "?")
}

/// Writes a line to the standard output.
fn print(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", printable(line)).and_then(|()| out.flush()).map_err(|e| Error::io("write", OUTPUT, e))
}

/// That a file can be written to `out`, which is made of `inputs`: asked before the work.
///
/// # Errors
/// [`Error::Io`]; [`Error::Usage`] where it would replace one of them, or a file of a run.
fn check_output(out: &Path, inputs: &[&Path]) -> Result<()> {
    files::check(out)?;
    let place = |path: &Path| dunce::canonicalize(path).ok();
    // What is not there yet may be a file that the run will need.
    let to_be = || Some(place(std::path::absolute(out).ok()?.parent()?)?.join(out.file_name()?));
    let Some(there) = place(out).or_else(to_be) else { return Ok(()) };
    let refused = if inputs.iter().any(|input| place(input).as_ref() == Some(&there)) {
        "is what is read"
    } else if RunDir::owns(&there) {
        "is a file of a run"
    } else {
        return Ok(());
    };
    Err(Error::Usage(format!("{} {refused}, and would be replaced: choose another name", out.display())))
}

/// A path that a file of text can hold.
fn utf8_path(text: &str) -> Result<PathBuf, String> {
    Ok(text.into())
}

/// A path as a word of a command line.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/\\:._-+,=@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// `value` as one line of JSON on the standard output.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&json_line(value))
}

/// `value` as one line of JSON without control characters, of which JSON itself would allow some.
fn json_line(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).expect("plain data");
    let escaped = |c: char| match c.is_control() {
        true => format!("\\u{:04x}", u32::from(c)),
        false => c.into(),
    };
    match text.contains(char::is_control) {
        true => text.chars().map(escaped).collect(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A class's name may be anything that a folder's can be.
    #[test]
    fn what_steers_a_terminal_is_not_printed() {
        assert_eq!(printable("3 | lr = 'a'\r\n"), "3 | lr = 'a'\n");
        assert_eq!(printable("cat\u{1b}[2J\u{9b}1A\tdog\r\n"), "cat?[2J?1A\tdog\n");
        // JSON says all of it, and the same.
        let name = "a\u{1b}\u{7f}\u{9b}ü";
        let line = json_line(&name);
        assert!(!line.contains(char::is_control), "{line:?}");
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), name);
    }

    /// clap refuses a command whose groups share a name, but only in builds with debug assertions.
    #[test]
    fn names_of_argument_groups_are_unique() {
        let mut command = command();
        command.build();
        for subcommand in command.get_subcommands() {
            let mut groups: Vec<_> =
                subcommand.get_groups().map(|group| group.get_id().to_string()).collect();
            groups.sort();
            let all = groups.len();
            groups.dedup();
            assert_eq!(groups.len(), all, "{}: {groups:?}", subcommand.get_name());
        }
    }
}
