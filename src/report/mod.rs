//! Reports, each one self-contained HTML file: a run's, with its curves, its weights and some test images; and a
//! comparison of many runs.

mod charts;
pub mod compare;
mod html;
mod ink;
mod metrics;
mod movement;
mod page;
mod plots;
mod samples;
pub mod sheet;

use crate::error::{Error, Result};
use crate::experiment::Record;
use crate::files;
use crate::train::RunDir;
use crate::train::run_dir::Config;
use metrics::Metrics;
use samples::{Checkpoint, Samples};
use std::path::{Path, PathBuf};

/// What a page shows.
struct Report {
    /// The name of the run's directory.
    run: String,
    config: Config,
    metrics: Metrics,
    checkpoint: Option<Checkpoint>,
    /// Or why there are none.
    samples: Result<Samples, String>,
    /// See [`compare::SMOKE`].
    smoke: bool,
}

/// Writes `report.html` of the run in `directory` and returns its path. Runs that are not finished have a page
/// too. Test images are evaluated with the best checkpoint, or with the `last`, by `adapter`, as for
/// [`crate::engine::Target::choose`]; without it by the run's own, else by the host.
///
/// # Errors
/// [`Error::Checkpoint`] where the directory holds no run, or its metrics cannot be understood;
/// [`Error::Adapter`] where `adapter` is not there; [`Error::Io`]. Where the weights or the test images cannot
/// be had, the page says why.
pub fn write(directory: &Path, last: bool, adapter: Option<&str>) -> Result<PathBuf> {
    let run = RunDir::new(directory);
    let config = run.config()?;
    let metrics = Metrics::read(&run.metrics())?;
    let (checkpoint, samples) = match Checkpoint::read(&run, last) {
        Ok(Some(checkpoint)) => {
            let samples = match samples::collect(&config, &checkpoint, adapter) {
                Err(e @ Error::Adapter { .. }) if adapter.is_some() => return Err(e),
                Err(Error::Data { path, problem, .. }) => Err(format!(
                    "The test images are not where the run had them: {} {problem}.",
                    path.display()
                )),
                samples => samples.map_err(|e| format!("There are no images here: {e}")),
            };
            (Some(checkpoint), samples)
        }
        Ok(None) => {
            (None, Err("The run has no checkpoint yet, so nothing can be said of the test images.".into()))
        }
        Err(e) => (None, Err(format!("There are no images here: {e}"))),
    };
    let smoke = Record::is_of_a_try(directory);
    // `.` has no name of its own.
    let named = dunce::canonicalize(directory).unwrap_or_else(|_| directory.into());
    let report = Report { run: samples::name_of(&named), config, metrics, checkpoint, samples, smoke };
    let path = run.report();
    files::write(&path, page::render(&report).as_bytes())?;
    Ok(path)
}

/// Whether the run in `directory` has a report that is newer than what it is of.
pub fn is_up_to_date(directory: &Path) -> bool {
    let time = |path: PathBuf| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    let run = RunDir::new(directory);
    let Some(report) = time(run.report()) else { return false };
    [run.metrics(), run.best(), run.last()].into_iter().filter_map(time).all(|time| time <= report)
}

impl Report {
    /// The network, its weights and its data.
    fn title(&self) -> String {
        let settings = &self.config.settings;
        let method = settings.weight_method().map_or_else(|_| "?".into(), |m| m.to_string());
        format!("{}, {method}, {}", settings.arch, settings.dataset)
    }

    /// Every setting, by name.
    fn settings(&self) -> Vec<(String, String)> {
        let table =
            toml::to_string(&self.config.settings).ok().and_then(|text| text.parse::<toml::Table>().ok());
        let text = |value: toml::Value| match value {
            toml::Value::String(text) => text,
            value => value.to_string(),
        };
        table.unwrap_or_default().into_iter().map(|(name, value)| (name, text(value))).collect()
    }
}
