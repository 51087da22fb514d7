//! `shiftnet report`

use super::{Outcome, print};
use crate::error::Result;
use crate::report;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's directory
    #[arg(value_name = "RUN")]
    path: PathBuf,

    /// A part of an adapter's name, its index, or host: what evaluates the sample images
    #[arg(long, value_name = "NAME|INDEX|host")]
    adapter: Option<String>,
}

pub fn run(args: &Args) -> Result<Outcome> {
    let path = report::write(&args.path, args.adapter.as_deref())?;
    print(&format!("wrote {}", path.display()))?;
    Ok(Outcome::Done)
}
