//! The command line: one file a command, with its arguments and what it does.

pub mod devices;
pub mod eval;
pub mod inspect;
pub mod progress;
pub mod report;
pub mod train;

use crate::error::{Error, Result};
use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write;
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
    /// Measure loss and accuracy of a run or a weight file
    Eval(eval::Args),
    /// Show what is inside a run or a weight file
    Inspect(inspect::Args),
    /// Write a run's report.html
    Report(report::Args),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// By Ctrl-C, with everything saved: exit code 130.
    Interrupted,
}

/// Runs the command and prints its error, if any.
pub fn run(cli: Cli) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SHIFTNET_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match cli.command {
        Some(Command::Devices(args)) => devices::run(&args),
        Some(Command::Train(args)) => train::run(*args),
        Some(Command::Eval(args)) => eval::run(&args),
        Some(Command::Inspect(args)) => inspect::run(&args),
        Some(Command::Report(args)) => report::run(&args),
        None => print(&Cli::command().render_help().ansi().to_string()).map(|()| Outcome::Done),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // The reader of our output has gone; there is nobody to tell.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Where even this cannot be written, the exit code still says it.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Writes a line to the standard output.
fn print(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|e| Error::io("write", "the standard output", e))
}

/// `value` as one line of JSON on the standard output.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&serde_json::to_string(value).expect("plain data"))
}
