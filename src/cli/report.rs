//! `shiftnet report`

use super::eval::Which;
use super::progress::eprintln_lossy;
use super::{Outcome, print};
use crate::error::{Error, Result};
use crate::experiment::Record;
use crate::report::{self, compare};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's directory, or an experiment's, or several runs to compare
    #[arg(value_name = "RUN", required = true)]
    paths: Vec<PathBuf>,

    /// Where the comparison goes [default: the experiment's directory, or the one that holds the runs]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Which of a run's checkpoints says what the sample images show
    #[arg(long, default_value = "best")]
    checkpoint: Which,

    /// A part of an adapter's name, its index, or host: what evaluates the sample images
    #[arg(long, value_name = "NAME|INDEX|host")]
    adapter: Option<String>,
}

pub fn run(args: &Args) -> Result<Outcome> {
    let adapter = args.adapter.as_deref();
    if let [path] = &args.paths[..] {
        if let Some((subject, entries)) = compare::experiment(path)? {
            args.only_one_run()?;
            let out = args.out.clone().unwrap_or_else(|| path.clone());
            return comparison(subject, &entries, &out, adapter);
        }
        if args.out.is_some() {
            return Err(Error::Usage(
                "--out is where a comparison of several runs goes; this is one run".into(),
            ));
        }
        let path = report::write(path, args.checkpoint == Which::Last, adapter)?;
        print(&format!("wrote {}", path.display()))?;
        return Ok(Outcome::Done);
    }
    args.only_one_run()?;
    let entries = compare::runs(&args.paths)?;
    let out = args.out.clone().unwrap_or_else(|| compare::common(&args.paths));
    let smoke = args.paths.iter().any(|path| Record::is_of_a_try(path));
    let subject = compare::Subject { title: format!("{} runs", entries.len()), smoke, ..Default::default() };
    comparison(subject, &entries, &out, adapter)
}

impl Args {
    /// That nothing is asked for which only the report of one run has.
    fn only_one_run(&self) -> Result<()> {
        match self.checkpoint {
            Which::Best => Ok(()),
            Which::Last => Err(Error::Usage("--checkpoint is for the report of one run".into())),
        }
    }
}

/// Writes the comparison, with the runs' own reports, and prints it.
pub(super) fn comparison(
    subject: compare::Subject,
    entries: &[compare::Entry],
    out: &Path,
    adapter: Option<&str>,
) -> Result<Outcome> {
    for missing in compare::own_reports(entries, adapter) {
        eprintln_lossy(&format!("warning: {missing}"));
    }
    let comparison = compare::write(subject, entries, out)?;
    print(&compare::table(&comparison))?;
    print(&format!("wrote {}", out.join("comparison.html").display()))?;
    print(&format!("wrote {}", out.join("comparison.json").display()))?;
    Ok(Outcome::Done)
}
