//! How far a run of an experiment is, by the files in its directory.

use crate::error::{Error, Result};
use crate::files;
use crate::train::checkpoint;
use crate::train::run_dir::Config;
use crate::train::{RunDir, Settings};

/// How far a run is.
pub enum State {
    /// Nothing is there.
    New,
    /// It can go on as `Config` says.
    Begun(Box<Config>),
    Finished {
        steps: u64,
        epochs: u64,
    },
    /// It ended by itself, for this reason, and would again.
    Failed(String),
}

impl State {
    /// The state of the run in `run`, which has to be of `settings`.
    ///
    /// # Errors
    /// [`Error::Usage`] where another run is there; those of its files.
    pub fn of(run: &RunDir, settings: &Settings) -> Result<State> {
        if !run.holds_a_run() {
            return Ok(State::New);
        }
        let config = run.config()?;
        // Where the experiment leaves it to the data, the run has what the data said.
        let said_by_data: &[&str] = if settings.image_size.is_none() { &["image-size"] } else { &[] };
        if let Some(name) = settings.differs(&config.settings.identity(), said_by_data) {
            return Err(Error::Usage(format!(
                "{} holds a run with another {name} than the experiment's: move it away, or choose another --out",
                run.path.display()
            )));
        }
        if let Ok(reason) = std::fs::read_to_string(run.failure()) {
            return Ok(State::Failed(reason.trim().into()));
        }
        if run.has_checkpoint()? {
            let (_, progress) = checkpoint::read(&run.last())?;
            let enough = settings.max_steps.is_some_and(|most| progress.step >= most);
            if enough || progress.epoch >= settings.epochs {
                return Ok(State::Finished { steps: progress.step, epochs: progress.epoch });
            }
        }
        Ok(State::Begun(Box::new(config)))
    }
}

/// Notes that a run cannot end, for the next start.
pub fn fail(run: &RunDir, reason: &Error) -> Result<()> {
    files::write(&run.failure(), format!("{reason}\n").as_bytes())
}
