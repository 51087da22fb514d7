//! A run's directory: `config.toml`, `metrics.jsonl`, `last.safetensors`, `best.safetensors`.

use super::events::Event;
use super::settings::Settings;
use super::tensorboard;
use crate::error::{Error, Result};
use crate::files;
use crate::gpu::AdapterInfo;
use crate::kernels::choose::Chosen;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What `config.toml` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    pub version: String,
    pub settings: Settings,
    pub adapter: AdapterInfo,
    /// The kernels' variants by problem: a resume repeats them, so that it computes the same.
    #[serde(default)]
    pub variants: Chosen,
}

/// That nobody else trains a run, as long as it is kept. A process that is killed lets go of it.
#[must_use]
pub struct Lock {
    _file: Option<File>,
}

/// A run's directory.
#[derive(Clone, Debug)]
pub struct RunDir {
    pub path: PathBuf,
}

impl RunDir {
    /// The run at `path`, which need not be there.
    pub fn new(path: impl Into<PathBuf>) -> RunDir {
        RunDir { path: path.into() }
    }

    /// The checkpoint that a resume goes on from.
    pub fn last(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }

    /// The checkpoint of the epoch with the highest `val_top1`.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// What the run wrote of its steps and epochs: one JSON object a line.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Where TensorBoard's event files go.
    pub fn tensorboard(&self) -> PathBuf {
        self.path.join("tensorboard")
    }

    /// Where `train --profile` writes its trace.
    pub fn trace(&self) -> PathBuf {
        self.path.join("profile.json")
    }

    /// What an experiment writes where the run cannot end.
    pub fn failure(&self) -> PathBuf {
        self.path.join("failed.txt")
    }

    /// The run's page.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join(".lock")
    }

    fn config_path(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// Whether `path` is a file that a run keeps, and needs.
    pub fn owns(path: &Path) -> bool {
        path.parent().map(RunDir::new).is_some_and(|run| {
            let own = [run.config_path(), run.metrics(), run.last(), run.best()];
            run.config_path().exists() && own.iter().any(|own| own == path)
        })
    }

    /// Whether a run is in the directory.
    pub fn holds_a_run(&self) -> bool {
        [self.config_path(), self.metrics(), self.last(), self.best()].iter().any(|path| path.exists())
    }

    /// Whether there is a checkpoint to go on from.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where there has been one: a link leads nowhere, or more than an epoch is logged.
    pub fn has_checkpoint(&self) -> Result<bool> {
        let last = self.last();
        let gone = |problem: &str| {
            let remedy = "Restore it; or move the run away and begin anew, from its best with --init-from";
            Err(Error::checkpoint(&last, problem, remedy))
        };
        match std::fs::symlink_metadata(&last) {
            Ok(_) if last.exists() => return Ok(true),
            Ok(_) => return gone("leads to a file that cannot be found"),
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("read", &last, e)),
            Err(_) => {}
        }
        // An epoch's line is written before its checkpoint.
        let metrics = std::fs::read(self.metrics()).unwrap_or_default();
        let all = lines_until(&metrics, u64::MAX, u64::MAX).count();
        // What a resume within the first epoch would keep.
        let kept = lines_until(&metrics, u64::MAX, 1).count();
        match kept < all {
            true => gone("is not there, though the run was in its second epoch or later"),
            false => Ok(false),
        }
    }

    /// Keeps others from training the run. Where a file system has no locks, nothing does.
    ///
    /// # Errors
    /// [`Error::Usage`] where somebody trains it; [`Error::Io`].
    pub fn lock(&self) -> Result<Lock> {
        let path = self.lock_path();
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| Error::io("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(Error::Usage(format!(
                "{} is being trained by another process: wait for it, or end it",
                self.path.display()
            ))),
            Err(TryLockError::Error(_)) => Ok(Lock { _file: None }),
        }
    }

    /// Begins a run, which is locked: creates the directory and writes its configuration. An older run's files go only with
    /// `overwrite`.
    ///
    /// # Errors
    /// [`Error::Usage`] where a run is there already, or is being trained; [`Error::Io`].
    pub fn create(&self, config: &Config, overwrite: bool) -> Result<Lock> {
        let check = || match self.holds_a_run() && !overwrite {
            false => Ok(()),
            true => Err(Error::Usage(format!(
                "{} already holds a run: continue it with --resume, replace it with --overwrite, or choose another --out",
                self.path.display()
            ))),
        };
        check()?;
        std::fs::create_dir_all(&self.path).map_err(|e| Error::io("create", &self.path, e))?;
        let lock = self.lock()?;
        // Somebody else may have made one meanwhile.
        check()?;
        if self.holds_a_run() {
            let made_of_it = [self.trace(), self.report(), self.failure()];
            let own =
                [self.last(), self.best(), self.metrics(), self.config_path()].into_iter().chain(made_of_it);
            for path in own.chain(tensorboard::event_files(&self.tensorboard())?) {
                match std::fs::remove_file(&path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::io("remove", path, e));
                    }
                    _ => {}
                }
            }
            // Where a user keeps something else there, it stays.
            let _ = std::fs::remove_dir(self.tensorboard());
        }
        self.write_config(config).inspect_err(|_| {
            // Where it holds something else, or cannot be removed, such a directory does no harm.
            let _ = std::fs::remove_file(self.lock_path()).and_then(|()| std::fs::remove_dir(&self.path));
        })?;
        Ok(lock)
    }

    /// Writes `config.toml` anew.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_config(&self, config: &Config) -> Result<()> {
        let text =
            toml::to_string(config).map_err(|e| Error::Usage(format!("settings cannot be written: {e}")))?;
        files::write(&self.config_path(), text.as_bytes())
    }

    /// The run's configuration.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the directory holds no run, or its configuration cannot be read.
    pub fn config(&self) -> Result<Config> {
        let path = self.config_path();
        let text = std::fs::read_to_string(&path).map_err(|e| {
            let problem = format!("holds no run: config.toml cannot be read ({e})");
            Error::checkpoint(
                &self.path,
                problem,
                "Give the directory of a run, as `shiftnet train` printed it",
            )
        })?;
        toml::from_str(&text).map_err(|e| {
            Error::checkpoint(
                &path,
                format!("cannot be understood: {}", e.message()),
                "Restore the file that `train` wrote",
            )
        })
    }

    /// Appends a line to the metrics.
    pub fn append(&self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_string(event).expect("events are plain data");
        line.push('\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.metrics())
            .map_err(|e| Error::io("open", self.metrics(), e))?;
        file.write_all(line.as_bytes()).map_err(|e| Error::io("write", self.metrics(), e))
    }

    /// Cuts a torn last line of the metrics, lines past `step`, and those of epochs from `epoch` on: that of one which a stop cut
    /// short.
    pub fn cut_metrics(&self, step: u64, epoch: u64) -> Result<()> {
        let path = self.metrics();
        let text = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("read", path, e)),
        };
        let kept: Vec<u8> = lines_until(&text, step, epoch).flatten().copied().collect();
        if kept != text { files::write(&path, &kept) } else { Ok(()) }
    }
}

/// The whole lines of `metrics` that a run which goes on after `step`, within or before `epoch`, keeps: see
/// [`RunDir::cut_metrics`].
pub fn lines_until(metrics: &[u8], step: u64, epoch: u64) -> impl Iterator<Item = &[u8]> {
    let keep = move |line: &&[u8]| {
        let Ok(line) = serde_json::from_slice::<serde_json::Value>(line) else { return false };
        let cut_short = line["event"] == "epoch" && line["epoch"].as_u64().is_some_and(|e| e >= epoch);
        line["step"].as_u64().is_some_and(|s| s <= step) && !cut_short
    };
    metrics.split_inclusive(|&b| b == b'\n').filter(|line| line.ends_with(b"\n")).filter(keep)
}

/// The file that a command means by `path`: a run's best (or, with `last`, its last) checkpoint, or the file.
///
/// # Errors
/// [`Error::Checkpoint`] for a directory that is no run, or one that has no checkpoint yet.
pub fn weights_file(path: &Path, last: bool) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let run = RunDir::new(path);
    let best = run.best().exists();
    let file = if !last && best { run.best() } else { run.last() };
    if !file.exists() {
        run.config()?;
        if best {
            let problem = "has its best checkpoint, but not its last";
            return Err(Error::checkpoint(path, problem, "Leave --checkpoint out"));
        }
        let remedy = "Go on with it: `shiftnet train --resume` and its directory";
        return Err(Error::checkpoint(path, "is a run that has no checkpoint yet", remedy));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_cut_at_the_checkpoint() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let run = RunDir::new(directory.path());
        run.cut_metrics(3, 1).expect("nothing to cut");
        let [first, fourth] = [1, 4].map(|step| format!("{{\"event\":\"step\",\"step\":{step}}}\n"));
        let [whole, short] =
            [(0, 2), (1, 3)].map(|(e, s)| format!("{{\"event\":\"epoch\",\"epoch\":{e},\"step\":{s}}}\n"));
        let text = format!("{first}{whole}{short}{fourth}{{\"event\":\"st");
        std::fs::write(run.metrics(), text).expect("a small file");
        run.cut_metrics(3, 1).expect("valid");
        let kept = std::fs::read_to_string(run.metrics()).expect("it is there");
        assert_eq!(kept, first + &whole);
    }
}
