//! A comparison of many runs: an HTML page, the same as JSON, and as text for the terminal.

mod gather;
mod page;
mod table;

pub use table::table;

use crate::error::{Error, Result};
use crate::experiment::{Published, Record};
use crate::files;
use crate::train::RunDir;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What is said of tries, wherever their numbers are shown.
pub const SMOKE: &str =
    "This is a try (--smoke): a small network, built-in images, a few steps. Its numbers are no results.";

/// What a comparison is about.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Subject {
    pub title: String,
    /// What the runs test, and where that stands.
    pub claim: Option<String>,
    pub source: Option<String>,
    /// Settings that took the place of the experiment's, in words.
    pub overrides: Option<String>,
    /// Whether the numbers are no results.
    pub smoke: bool,
    #[serde(skip)]
    pub published: Vec<Published>,
}

/// A run to compare.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    /// Without it, runs that are equal but for their seed are a group.
    pub group: Option<String>,
    pub directory: PathBuf,
}

/// A mean with its sample standard deviation, which one value does not have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub mean: f64,
    pub std: Option<f64>,
    pub n: usize,
}

/// What is compared, each a number of a run or a spread of a group's; none where it was not measured. Accuracies are in
/// percent; sparsity and flips are shares of the residual blocks' weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured<T> {
    /// Of the last epoch, and of the best.
    pub val_top1: Option<T>,
    pub val_top1_best: Option<T>,
    pub val_top5: Option<T>,
    pub val_loss: Option<T>,
    pub sparsity: Option<T>,
    /// A step, mean over the last epoch's.
    pub sign_flip_rate: Option<T>,
}

impl<T> Default for Measured<T> {
    fn default() -> Self {
        Measured {
            val_top1: None,
            val_top1_best: None,
            val_top5: None,
            val_loss: None,
            sparsity: None,
            sign_flip_rate: None,
        }
    }
}

impl<T: Copy> Measured<T> {
    /// The values in the order of the tables.
    fn values(&self) -> [Option<T>; 6] {
        [self.val_top1, self.val_top1_best, self.val_top5, self.val_loss, self.sparsity, self.sign_flip_rate]
    }
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Far {
    NotBegun,
    Unfinished,
    Finished,
    /// It ended by itself, for this reason.
    Failed(String),
}

/// A run of the comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    /// Its group's place.
    pub group: usize,
    #[serde(serialize_with = "lossily")]
    pub directory: PathBuf,
    pub state: Far,
    /// None where it is not begun.
    pub seed: Option<u64>,
    /// Epochs done, and how many there are to be.
    pub epoch: u64,
    pub epochs: u64,
    pub steps: u64,
    /// Median training images a second.
    pub images_per_s: Option<f64>,
    pub adapter: Option<String>,
    #[serde(flatten)]
    pub measured: Measured<f64>,
    /// Of the best top-1, from 1.
    pub best_epoch: Option<u64>,
    /// Whether the run ended within an epoch and with a better top-1 than the best, which is of whole epochs.
    pub last_is_better: bool,
    #[serde(skip)]
    curves: Vec<gather::Point>,
    /// The page's link to the run's report, where there is one.
    #[serde(skip)]
    link: Option<String>,
}

/// A path as text, whatever it is made of.
fn lossily<S: serde::Serializer>(path: &Path, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// Runs that differ in their seed at most.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    pub name: String,
    pub runs: usize,
    pub finished: usize,
    /// Different ones, of the runs that `measured` is of: where they are fewer than the runs, some repeat others.
    pub seeds: usize,
    /// Of the finished runs; where none is, of those with an epoch. Without a deviation where runs repeat others.
    #[serde(flatten)]
    pub measured: Measured<Spread>,
    /// The first and the last epoch that unfinished runs, of which `measured` is, have done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished_at: Option<[u64; 2]>,
    pub published: Vec<Published>,
}

/// A setting that is not the same in all groups.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub setting: String,
    /// One a group.
    pub values: Vec<String>,
}

/// Everything that is shown.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    #[serde(flatten)]
    pub subject: Subject,
    /// The program that wrote it.
    pub version: String,
    pub groups: Vec<Group>,
    pub runs: Vec<Row>,
    pub differences: Vec<Difference>,
    /// Published figures that no group repeats.
    pub published_alone: Vec<Published>,
}

impl Comparison {
    /// Runs that are finished.
    pub fn finished(&self) -> usize {
        self.runs.iter().filter(|run| run.state == Far::Finished).count()
    }

    /// What has to be said before numbers are compared.
    pub fn cautions(&self) -> Vec<String> {
        let mut cautions = Vec::new();
        if self.subject.smoke {
            cautions.push(SMOKE.to_string());
        }
        let differs = |setting: &str| self.differences.iter().any(|d| d.setting == setting);
        let tasks: Vec<&str> = ["dataset", "data", "image-size", "arch", "limit-val"]
            .into_iter()
            .filter(|setting| differs(setting))
            .collect();
        if !tasks.is_empty() {
            cautions.push(format!(
                "The runs differ in {}: their accuracies are not of one task.",
                tasks.join(", ")
            ));
        }
        let has_published =
            !self.published_alone.is_empty() || self.groups.iter().any(|g| !g.published.is_empty());
        if let (Some(overrides), true) = (&self.subject.overrides, has_published) {
            cautions.push(format!(
                "These settings took the place of the experiment's: {overrides}. Published figures are of its own."
            ));
        }
        cautions.extend(self.repeats());
        cautions.extend(self.better_lasts());
        cautions
    }

    /// That n counts more runs than there are seeds.
    fn repeats(&self) -> Option<String> {
        let repeated: Vec<&str> =
            self.groups.iter().filter(|group| group.repeats()).map(|group| group.name.as_str()).collect();
        (!repeated.is_empty()).then(|| {
            format!(
                "Runs of equal settings and the same seed are repeats: n counts them, but no deviation over seeds is given \
                 for {}.",
                repeated.join("; ")
            )
        })
    }

    /// Runs whose last checkpoint is better than their best.
    fn better_lasts(&self) -> Option<String> {
        let said = |run: &Row| {
            let (last, best) = (run.measured.val_top1?, run.measured.val_top1_best?);
            let (name, epoch, best_epoch) = (&run.name, run.epoch, run.best_epoch?);
            let here =
                format!("{name} ({last:.2} % within epoch {epoch}, {best:.2} % after epoch {best_epoch})");
            run.last_is_better.then_some(here)
        };
        let runs: Vec<String> = self.runs.iter().filter_map(said).collect();
        (!runs.is_empty()).then(|| {
            format!(
                "The best top-1 is of whole epochs. --max-steps ended these runs within one, where they were better, so that \
                 --checkpoint last is their better file: {}.",
                runs.join("; ")
            )
        })
    }
}

impl Group {
    /// Whether some of the runs that its numbers are of have the same seed.
    fn repeats(&self) -> bool {
        self.measured.val_top1.is_some_and(|spread| self.seeds < spread.n)
    }
}

/// The subject and the runs of the experiment that was begun in `directory`; `None` where none was.
///
/// # Errors
/// Those of its record.
pub fn experiment(directory: &Path) -> Result<Option<(Subject, Vec<Entry>)>> {
    let Some(record) = Record::read(directory)? else { return Ok(None) };
    let (experiment, runs) = record.expand()?;
    let entry = |run: crate::experiment::Run| Entry {
        directory: directory.join(&run.name),
        name: run.name,
        group: Some(run.group),
    };
    let subject = Subject {
        title: experiment.title,
        claim: Some(experiment.claim),
        source: Some(experiment.source),
        overrides: (!record.overrides.set.is_empty()).then(|| record.overrides.in_words()),
        smoke: record.overrides.smoke,
        published: experiment.published,
    };
    Ok(Some((subject, runs.into_iter().map(entry).collect())))
}

/// Runs by their directories.
///
/// # Errors
/// [`Error::Checkpoint`] where one holds no run, [`Error::Usage`] where one is named twice.
pub fn runs(directories: &[PathBuf]) -> Result<Vec<Entry>> {
    let named = |path: &PathBuf| {
        RunDir::new(path).config()?;
        let whole = dunce::canonicalize(path).map_err(|e| Error::io("read", path, e))?;
        Ok((whole.clone(), super::samples::name_of(&whole)))
    };
    let named = directories.iter().map(named).collect::<Result<Vec<_>>>()?;
    let entry = |(i, (whole, name)): (usize, &(PathBuf, String))| {
        if named[..i].iter().any(|(other, _)| other == whole) {
            return Err(Error::Usage(format!("{} is named twice", directories[i].display())));
        }
        // Of equal names the directories tell which is which.
        let alone = named.iter().filter(|(_, other)| other == name).count() == 1;
        let name = if alone { name.clone() } else { directories[i].display().to_string() };
        Ok(Entry { name, group: None, directory: directories[i].clone() })
    };
    named.iter().enumerate().map(entry).collect()
}

/// The directory that holds all of `directories`: the nearest.
pub fn common(directories: &[PathBuf]) -> PathBuf {
    let whole = |path: &PathBuf| dunce::canonicalize(path).unwrap_or_else(|_| path.clone());
    let mut parents =
        directories.iter().map(|path| whole(path).parent().map_or_else(PathBuf::new, Path::to_path_buf));
    let mut common = parents.next().unwrap_or_default();
    for parent in parents {
        while !parent.starts_with(&common) && common.pop() {}
    }
    common
}

/// Writes what is missing of the runs' own reports. Those that cannot be written are returned, with the reason.
pub fn own_reports(entries: &[Entry], adapter: Option<&str>) -> Vec<String> {
    let write = |entry: &Entry| {
        let run = RunDir::new(&entry.directory);
        if !run.holds_a_run() || !run.metrics().exists() || super::is_up_to_date(&entry.directory) {
            return None;
        }
        super::write(&entry.directory, false, adapter)
            .err()
            .map(|e| format!("{} has no report: {e}", entry.name))
    };
    entries.iter().filter_map(write).collect()
}

/// Compares the runs, and writes `comparison.html` and `comparison.json` to `out`.
///
/// # Errors
/// [`Error::Checkpoint`] where a run's files cannot be understood, [`Error::Io`].
pub fn write(subject: Subject, entries: &[Entry], out: &Path) -> Result<Comparison> {
    std::fs::create_dir_all(out).map_err(|e| Error::io("create", out, e))?;
    let comparison = gather::gather(subject, entries, out)?;
    files::write(&out.join("comparison.html"), page::render(&comparison).as_bytes())?;
    let json = serde_json::to_string_pretty(&comparison).expect("plain data");
    files::write(&out.join("comparison.json"), format!("{json}\n").as_bytes())?;
    Ok(comparison)
}
