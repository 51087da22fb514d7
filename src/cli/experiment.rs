//! `shiftnet experiment`

use super::progress::eprintln_lossy;
use super::train::{self, Show};
use super::{Outcome, interrupt, print};
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::experiment::{self, EMBEDDED, Experiment, Overrides, Record, Run, State, state};
use crate::kernels::choose::Choices;
use crate::report;
use crate::train::run_dir::{Config, Lock, weights_file};
use crate::train::{RunDir, Settings, Setup, Trainer};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// An experiment that the program brings along (see --list), or a TOML file of your own
    #[arg(value_name = "NAME|FILE")]
    name: Option<String>,

    /// List the experiments, or the runs of the one that is named
    #[arg(long)]
    list: bool,

    /// Try it in a few minutes: a small network, built-in images, few steps. Its numbers are no results
    #[arg(long)]
    smoke: bool,

    /// Put this in place of the experiment's setting, in all of its runs; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// The experiment's directory [default: runs/NAME, with --smoke runs/NAME-smoke]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Directory (or archive) of the dataset's files
    #[arg(long, value_name = "DIR", value_parser = super::utf8_path)]
    data: Option<PathBuf>,

    /// A part of an adapter's name, its index, or host
    #[arg(long, value_name = "NAME|INDEX|host")]
    adapter: Option<String>,

    /// Measure which variants of the kernels are the fastest here, once, and have the runs that begin use these
    #[arg(long)]
    autotune: bool,

    /// Write TensorBoard's event files too, to tensorboard/ in each run's directory
    #[arg(long)]
    tensorboard: bool,

    /// Print only errors and the table at the end
    #[arg(long)]
    quiet: bool,
}

pub fn run(args: &Args) -> Result<Outcome> {
    let Some(name) = &args.name else {
        let more = args.smoke || !args.set.is_empty() || args.out.is_some() || args.data.is_some();
        return match more {
            true => Err(Error::Usage("name an experiment (`shiftnet experiment --list` lists them)".into())),
            false => list(),
        };
    };
    let (name, text) = experiment::find(name)?;
    let mut overrides = Overrides { smoke: args.smoke, ..Overrides::default() };
    args.set.iter().try_for_each(|assignment| overrides.add(assignment))?;
    let suffix = if args.smoke { "-smoke" } else { "" };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(format!("{name}{suffix}")));
    let (data, adapter) = (args.data.clone(), args.adapter.clone());
    let record = Record { name, version: crate::VERSION.into(), data, adapter, overrides, text };
    Session::new(args, record, out)?.run()
}

/// The experiments that the program brings along.
fn list() -> Result<Outcome> {
    for (name, text) in EMBEDDED {
        let experiment = Experiment::parse(name, text)?;
        let runs = match experiment.expand(&Overrides::default()) {
            Ok(runs) => format!("{} runs", runs.len()),
            Err(error) => format!("cannot run in this version: {error}"),
        };
        print(&format!(
            "{name}: {} ({runs})\n    {}\n    {}\n",
            experiment.title, experiment.claim, experiment.source
        ))?;
    }
    print("`shiftnet experiment NAME --list` lists the runs of one, `shiftnet experiment NAME` runs it.")?;
    Ok(Outcome::Done)
}

/// An experiment in its directory.
struct Session<'a> {
    args: &'a Args,
    out: PathBuf,
    record: Record,
    /// Whether `record` is what is in the directory.
    recorded: bool,
    experiment: Experiment,
    runs: Vec<Run>,
}

impl<'a> Session<'a> {
    /// Reads what is in the directory; writes nothing.
    fn new(args: &'a Args, mut record: Record, out: PathBuf) -> Result<Session<'a>> {
        let (experiment, runs) = record.expand()?;
        let begun = Record::read(&out)?;
        if let Some(begun) = &begun {
            record.continues(begun, &out)?;
            record.data = record.data.take().or_else(|| begun.data.clone());
            record.adapter = record.adapter.take().or_else(|| begun.adapter.clone());
        }
        let taken = |path: &Path| RunDir::new(path).holds_a_run().then(|| path.to_path_buf());
        let places = std::iter::once(out.clone()).chain(runs.iter().map(|run| out.join(&run.name)));
        if begun.is_none()
            && let Some(path) = places.into_iter().find_map(|path| taken(&path))
        {
            return Err(Error::Usage(format!(
                "{} holds a run that is of no experiment: choose another --out",
                path.display()
            )));
        }
        let recorded = begun.as_ref() == Some(&record);
        Ok(Session { args, out, record, recorded, experiment, runs })
    }

    fn run(mut self) -> Result<Outcome> {
        if self.args.list {
            return self.list_runs();
        }
        self.announce();
        let mut failed = Vec::new();
        for i in 0..self.runs.len() {
            let run = self.runs[i].clone();
            if let Some(from) = run.from.map(|from| self.runs[from].name.clone())
                && failed.contains(&from)
            {
                self.say(&format!("run {}: left out, as it begins from {from}, which failed", run.name));
                failed.push(run.name);
                continue;
            }
            self.say(&format!("\nrun {} of {}: {}", i + 1, self.runs.len(), run.name));
            match self.one(&run)? {
                Ended::Done => {}
                Ended::Failed => failed.push(run.name),
                Ended::Interrupted => return Ok(Outcome::Interrupted),
            }
        }
        self.compare()?;
        if failed.is_empty() {
            return Ok(Outcome::Done);
        }
        eprintln_lossy(&format!("these runs failed: {}", failed.join(", ")));
        Ok(Outcome::Failed)
    }

    /// Says something to people.
    fn say(&self, line: &str) {
        if !self.args.quiet {
            eprintln_lossy(line);
        }
    }

    fn announce(&self) {
        let Experiment { title, claim, source, .. } = &self.experiment;
        self.say(&format!(
            "{title}: {} runs in {}\n{claim}\n({source})",
            self.runs.len(),
            self.out.display()
        ));
        if !self.record.overrides.set.is_empty() {
            self.say(&format!("with --set {}", self.record.overrides.in_words()));
        }
        if self.record.overrides.smoke {
            self.say(report::compare::SMOKE);
        }
    }

    /// The runs with their state.
    fn list_runs(&self) -> Result<Outcome> {
        let Experiment { title, claim, source, .. } = &self.experiment;
        print(&format!("{title}\n{claim}\n({source})\n"))?;
        for run in &self.runs {
            let state = match State::of(&RunDir::new(self.out.join(&run.name)), &run.settings) {
                Ok(State::New) => "not begun".into(),
                Ok(State::Begun(_)) => "begun".into(),
                Ok(State::Finished { steps, .. }) => format!("finished, {steps} steps"),
                Ok(State::Failed(reason)) => format!("failed: {reason}"),
                Err(error) => format!("cannot go on: {error}"),
            };
            print(&format!("{}: {state}", run.name))?;
        }
        Ok(Outcome::Done)
    }

    /// Trains one run to its end, from where it stands.
    fn one(&mut self, run: &Run) -> Result<Ended> {
        let directory = RunDir::new(self.out.join(&run.name));
        let (trainer, _lock, setup) = match State::of(&directory, &run.settings)? {
            State::Finished { steps, epochs } => {
                if self.args.tensorboard || directory.tensorboard().is_dir() {
                    train::complete_board(&directory);
                }
                self.say(&format!("it is finished: {steps} steps, {epochs} epochs"));
                self.keep_record()?;
                return Ok(Ended::Done);
            }
            State::Failed(reason) => {
                let file = directory.failure();
                self.say(&format!("it failed: {reason} Remove {} to have it go on.", file.display()));
                return Ok(Ended::Failed);
            }
            State::New => self.begin(run, &directory)?,
            State::Begun(config) => self.resume(run, &directory, *config)?,
        };
        self.say(&setup);
        let again = format!("the same command (runs so far: shiftnet report {})", super::quoted(&self.out));
        let show = Show { quiet: self.args.quiet, json: false, tensorboard: self.args.tensorboard, again };
        match train::drive(trainer, &directory, &show, None) {
            Ok(Outcome::Interrupted) => return Ok(Ended::Interrupted),
            // It would end so again: the others need not wait for a remedy.
            Err(error @ Error::NonFinite { .. }) => {
                state::fail(&directory, &error)?;
                self.say(&format!("it failed: {error}"));
                return Ok(Ended::Failed);
            }
            other => other?,
        };
        Ok(if interrupt::pressed() { Ended::Interrupted } else { Ended::Done })
    }

    /// A new run: its trainer, that nobody else trains it, and what runs in words.
    fn begin(&mut self, run: &Run, directory: &RunDir) -> Result<(Trainer, Lock, String)> {
        let mut settings = run.settings.clone();
        settings.data = self.record.data.clone();
        if let Some(from) = run.from {
            settings.init_from = Some(weights_file(&self.out.join(&self.runs[from].name), false)?);
        }
        let mut setup = Setup::new(settings, Target::choose(self.record.adapter.as_deref())?)?;
        if self.args.autotune {
            setup = setup.autotuned()?;
        }
        let (config, words) = (setup.config(), described(&setup));
        let trainer = setup.begin(Some(directory.clone()))?;
        // Last, so that a mistake leaves nothing behind.
        self.keep_record()?;
        let lock = directory.create(&config, false)?;
        Ok((trainer, lock, words))
    }

    /// A run that was begun.
    fn resume(&mut self, run: &Run, directory: &RunDir, config: Config) -> Result<(Trainer, Lock, String)> {
        let lock = directory.lock()?;
        let settings = Settings {
            data: self.args.data.clone().or(config.settings.data.clone()),
            init_from: config.settings.init_from.clone(),
            ..run.settings.clone()
        };
        let target = train::resumed_on(self.args.adapter.as_deref(), &config)?;
        let mut words = train::moved(&target, &config).map_or(String::new(), |warning| warning + "\n");
        let target = target.with_choices(Choices { known: config.variants, ..Choices::default() });
        let setup = Setup::new(settings, target)?;
        words += &described(&setup);
        self.keep_record()?;
        directory.write_config(&setup.config())?;
        let trainer = setup.resume(directory.clone())?;
        words += &format!("\nit continues after step {}", trainer.progress().step);
        Ok((trainer, lock, words))
    }

    /// Writes the record, where the directory does not have it yet.
    fn keep_record(&mut self) -> Result<()> {
        if !self.recorded {
            self.record.write(&self.out)?;
            self.recorded = true;
        }
        Ok(())
    }

    /// Compares all runs; that of runs of a try says so once more.
    fn compare(&self) -> Result<()> {
        let Some((subject, entries)) = report::compare::experiment(&self.out)? else { return Ok(()) };
        self.say("");
        super::report::comparison(subject, &entries, &self.out, None)?;
        Ok(())
    }
}

/// How a run ended.
enum Ended {
    Done,
    Failed,
    Interrupted,
}

fn described(setup: &Setup) -> String {
    let lines = [format!("adapter {}", setup.target.info()), train::described(setup)];
    lines.into_iter().chain(train::notes(setup)).collect::<Vec<_>>().join("\n")
}
