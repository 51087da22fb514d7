//! The program: parse, call one command, map the error to an exit code.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    shiftnet::cli::run(shiftnet::cli::Cli::parse())
}
