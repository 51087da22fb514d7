//! `shiftnet train`

use super::progress::{Progress, eprintln_lossy, human};
use super::{Outcome, check_output, interrupt, json_line, print, quoted};
use crate::bench::profile;
use crate::engine::Target;
use crate::engine::profiled::Recorder;
use crate::error::{Error, Result};
use crate::files;
use crate::gpu::AdapterInfo;
use crate::kernels::choose::Choices;
use crate::train::run_dir::Config;
use crate::train::run_dir::Lock;
use crate::train::{Event, Flags, RunDir, Settings, Setup, TensorBoard, Trainer, checkpoint};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A TOML file with settings by these flags' names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Flags,

    /// The run's directory [default: runs/DATE-ARCH-METHOD]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Continue the run in this directory, or in --out's
    #[arg(long, value_name = "DIR")]
    resume: Option<Option<PathBuf>>,

    /// Replace a run that is in --out
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,

    /// A part of an adapter's name, its index, or host
    #[arg(long, value_name = "NAME|INDEX|host")]
    adapter: Option<String>,

    /// Run this variant of each kernel wherever it can [default: by shape and adapter]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["resume", "autotune"])]
    variant: Option<String>,

    /// Measure which variants of the kernels are the fastest here, once, and use these
    #[arg(long, conflicts_with = "resume")]
    autotune: bool,

    /// Compile kernels with checks of indices, divisors and loops
    #[arg(long)]
    checked: bool,

    /// Say which variant of each kernel runs
    #[arg(long)]
    verbose: bool,

    /// Show the plan: buffers, dispatches, memory; write and run nothing
    #[arg(long, conflicts_with = "json")]
    dry_run: bool,

    /// Tell where the time of a few steps goes, by kernel and layer; the trace (for chrome://tracing or Perfetto) goes
    /// to FILE [default: profile.json in the run's directory]
    #[arg(long, value_name = "FILE")]
    profile: Option<Option<PathBuf>>,

    /// Write TensorBoard's event files too, to tensorboard/ in the run's directory. A resumed run goes on with its own
    #[arg(long)]
    tensorboard: bool,

    /// Print only errors
    #[arg(long)]
    quiet: bool,

    /// Print events as JSON, one a line
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<Outcome> {
    if let Some(Some(trace)) = &args.profile {
        check_output(trace, &[])?;
    }
    let resume = match &args.resume {
        None => None,
        Some(Some(directory)) => Some(RunDir::new(directory)),
        Some(None) => Some(RunDir::new(args.out.as_ref().ok_or_else(|| {
            Error::Usage(
                "--resume needs the run's directory: --resume DIR, or --resume with --out DIR".into(),
            )
        })?)),
    };
    let recorder = Recorder::default();
    let trainer = match resume {
        Some(run) => continue_run(&args, run, &recorder)?,
        None => new_run(&args, &recorder)?,
    };
    let Some((trainer, run, _lock)) = trainer else { return Ok(Outcome::Done) };
    let profile =
        args.profile.map(|file| Profile::new(&trainer, file.unwrap_or_else(|| run.trace()), recorder));
    let again = format!("shiftnet train --resume {}", quoted(&run.path));
    drive(
        trainer,
        &run,
        &Show { quiet: args.quiet, json: args.json, tensorboard: args.tensorboard, again },
        profile,
    )
}

/// Says something to people.
fn say(args: &Args, line: &str) {
    if !args.quiet && !args.json {
        eprintln_lossy(line);
    }
}

/// A run, that nobody else trains it, and what trains it. None where there is nothing to train.
type Ready = Option<(Trainer, RunDir, Lock)>;

fn new_run(args: &Args, recorder: &Recorder) -> Result<Ready> {
    let file = args.config.as_deref().map(Flags::read).transpose()?.unwrap_or_default();
    // A file that names its dataset may have the place of another's.
    let given = args.flags.data.clone().or(file.data.clone().filter(|_| file.dataset.is_none()));
    let settings = args.flags.clone().or(file).resolve()?;
    settings.dataset.check_data(given.as_deref())?;
    let out = args.out.clone().unwrap_or_else(|| default_out(&settings));
    let run = RunDir::new(out);
    if run.holds_a_run() && !args.overwrite && !args.dry_run {
        return Err(Error::Usage(format!(
            "{} already holds a run: continue it with --resume, replace it with --overwrite, or choose another --out",
            run.path.display()
        )));
    }
    let choices = args.variant.as_deref().map(Choices::forced).transpose()?.unwrap_or_default();
    let target = Target::choose(args.adapter.as_deref())?.checked(args.checked).with_choices(choices);
    let mut setup = Setup::new(settings, target)?;
    if args.autotune {
        setup = setup.autotuned()?;
    }
    setup.recorder = args.profile.is_some().then(|| recorder.clone());
    announce(args, &setup);
    if args.dry_run {
        print(&crate::plan::print::plan(&setup.network.plan, setup.settings.accumulate))?;
        return Ok(None);
    }
    let config = setup.config();
    let trainer = setup.begin(Some(run.clone()))?;
    // Last, so that no mistake before it costs the run that is replaced.
    let lock = run.create(&config, args.overwrite)?;
    say(args, &format!("run {}", run.path.display()));
    Ok(Some((trainer, run, lock)))
}

/// `runs/DATE-ARCH-METHOD`, with a number behind it where that is taken.
fn default_out(settings: &Settings) -> PathBuf {
    let date = jiff::ZonedDateTime::now().strftime("%Y-%m-%d");
    let method = match settings.weight_method() {
        Ok(method) if method.is_discrete() => format!("{}-{}bit", method.name, method.bits),
        _ => "fp32".into(),
    };
    let name = format!("{date}-{}-{method}", settings.arch);
    let numbered = (2..).map(|n| PathBuf::from("runs").join(format!("{name}-{n}")));
    std::iter::once(PathBuf::from("runs").join(&name))
        .chain(numbered)
        .find(|path| !path.exists())
        .expect("numbers do not end")
}

fn continue_run(args: &Args, run: RunDir, recorder: &Recorder) -> Result<Ready> {
    let config = run.config()?;
    let mut settings = extended(args, config.settings.clone())?;
    // Before its data and its adapter, which a finished run does not need.
    if run.has_checkpoint()? {
        let (_, done) = checkpoint::read(&run.last())?;
        let at_most = |most: &u64| done.step >= *most;
        // What asks for more epochs does not mean the steps that the run ended at.
        if args.flags.epochs.is_some()
            && args.flags.max_steps.is_none()
            && settings.max_steps.as_ref().is_some_and(at_most)
        {
            settings.max_steps = None;
        }
        if let Some(line) = finished(&run, &settings, &done) {
            if !args.dry_run && (args.tensorboard || run.tensorboard().is_dir()) {
                complete_board(&run);
            }
            if !args.quiet {
                eprintln_lossy(&line);
            }
            return Ok(None);
        }
    }
    // Before the checkpoint is read that it goes on from, which somebody else may be about to replace.
    let lock = if args.dry_run { None } else { Some(run.lock()?) };
    let known = Choices { known: config.variants.clone(), ..Choices::default() };
    let target = resumed_on(args.adapter.as_deref(), &config)?.checked(args.checked).with_choices(known);
    if let Some(warning) = moved(&target, &config) {
        say(args, &warning);
    }
    let mut setup = Setup::new(settings, target)?;
    setup.recorder = args.profile.is_some().then(|| recorder.clone());
    announce(args, &setup);
    let (config, now) = (config, setup.config());
    let trainer = setup.resume(run.clone())?;
    let step = trainer.progress().step;
    let Some(lock) = lock else {
        print(&format!("would continue {} at step {step} of {}", run.path.display(), trainer.last_step()))?;
        return Ok(None);
    };
    if now.settings != config.settings || now.adapter != config.adapter || now.variants != config.variants {
        run.write_config(&now)?;
    }
    say(args, &format!("run {} continues after step {step}", run.path.display()));
    Ok(Some((trainer, run, lock)))
}

/// The adapter that `wanted` names, else the one that the run began on.
pub(super) fn resumed_on(wanted: Option<&str>, config: &Config) -> Result<Target> {
    match wanted {
        Some(wanted) => Target::choose(Some(wanted)),
        None => Target::again(&config.adapter),
    }
}

/// What there is to say where the rest of a run may differ in its last digits from what it would have been.
pub(super) fn moved(target: &Target, config: &Config) -> Option<String> {
    let version = (config.version != crate::VERSION).then(|| {
        format!(
            "this run began with version {}; with {} its results may differ in the last digits",
            config.version,
            crate::VERSION
        )
    });
    let differences: Vec<String> =
        target.info().differs_from(&config.adapter).into_iter().chain(version).collect();
    (!differences.is_empty()).then(|| format!("warning: {}", differences.join("\nwarning: ")))
}

/// Tells TensorBoard what it does not know of a finished run, which that does not hold up.
pub(super) fn complete_board(run: &RunDir) {
    if let Err(error) = TensorBoard::complete(run) {
        eprintln_lossy(&format!("warning: {error}"));
    }
}

/// What there is to say where the run has nothing left to do after `done`.
fn finished(run: &RunDir, settings: &Settings, done: &checkpoint::Progress) -> Option<String> {
    let remedy = if done.epoch >= settings.epochs {
        "a larger --epochs"
    } else if settings.max_steps.is_some_and(|most| done.step >= most) {
        "a larger --max-steps, or with --epochs"
    } else {
        return None;
    };
    let (path, checkpoint::Progress { step, epoch, .. }) = (quoted(&run.path), done);
    Some(format!("{path} is finished: {step} steps, {epoch} epochs. Extend it with {remedy}."))
}

/// A run's own settings with what a resume may change.
fn extended(args: &Args, own: Settings) -> Result<Settings> {
    if args.config.is_some() {
        return Err(Error::Usage(
            "--config cannot change a resumed run, which has its own config.toml".into(),
        ));
    }
    own.dataset.check_data(args.flags.data.as_deref())?;
    own.extended(&args.flags)
}

/// What runs, on what.
fn announce(args: &Args, setup: &Setup) {
    say(args, &format!("adapter {} (`shiftnet devices` lists the others)", setup.target.info()));
    say(args, &described(setup));
    notes(setup).for_each(|note| say(args, &note));
    if args.verbose {
        setup.network.chosen.iter().for_each(|(problem, variant)| {
            say(args, &format!("{problem}: {variant}{}", unmet(args, variant)))
        });
    }
}

/// What there is to say of the data, and of what was measured.
pub(super) fn notes(setup: &Setup) -> impl Iterator<Item = String> {
    let of_data = setup.source.notes.iter().map(|note| format!("note: {note}"));
    of_data.chain(setup.notes.iter().cloned())
}

/// The network and its data, in a line.
pub(super) fn described(setup: &Setup) -> String {
    let settings = &setup.settings;
    let method = settings.weight_method().map_or_else(|_| String::new(), |m| m.to_string());
    format!(
        "{} shortcut {}, {method}, {} parameters; {}: {} training and {} test images, batch {}, {} steps an epoch",
        settings.arch,
        format!("{:?}", settings.shortcut).to_uppercase(),
        setup.network.store.parameters(),
        settings.dataset,
        setup.train.len(),
        setup.test.len(),
        settings.batch_size,
        setup.steps_per_epoch()
    )
}

/// What to add where another variant was asked for.
fn unmet(args: &Args, variant: &str) -> &'static str {
    let asked = args.variant.as_deref();
    let met = asked.is_none_or(|name| variant == name || variant.split('-').next() == Some(name));
    if met { "" } else { " (the one asked for cannot do this here)" }
}

/// What `--profile` asks for.
pub(super) struct Profile {
    recorder: Recorder,
    adapter: AdapterInfo,
    file: PathBuf,
}

impl Profile {
    /// Steps to let pass first, and to record.
    const WARM_UP: u64 = 3;
    const STEPS: u64 = 3;

    /// Begins to record `trainer`'s steps; fewer where it has fewer left.
    fn new(trainer: &Trainer, file: PathBuf, recorder: Recorder) -> Profile {
        let left = trainer.last_step().saturating_sub(trainer.progress().step);
        let steps = left.min(Self::STEPS);
        recorder.begin((left - steps).min(Self::WARM_UP), steps);
        Profile { recorder, adapter: trainer.info().clone(), file }
    }

    /// Writes the trace and returns the tables, once all steps are recorded, or at the run's `end`. A trace that cannot be written
    /// is no reason to end the run.
    fn take(&self, end: bool) -> Option<String> {
        let recording = self.recorder.take(end)?;
        let trace = profile::trace(&recording, &self.adapter);
        let written = match files::write(&self.file, trace.to_string().as_bytes()) {
            Ok(()) => format!("wrote {}", self.file.display()),
            Err(error) => format!("warning: {error}"),
        };
        Some(format!("{}\n{written}", profile::tables(&recording)))
    }
}

/// What shows a run's events.
pub(super) struct Show {
    pub quiet: bool,
    /// As JSON, for programs.
    pub json: bool,
    /// For TensorBoard too; a run that has files for it gets more without being asked.
    pub tensorboard: bool,
    /// The command that continues the run after an interruption.
    pub again: String,
}

/// What `--json` says before the first event.
#[derive(Serialize)]
struct Begun<'a> {
    event: &'static str,
    path: String,
    adapter: String,
    /// Steps that were done before.
    step: u64,
    last_step: u64,
    settings: &'a Settings,
}

/// Consumes the run's events until it ends. A second Ctrl-C ends the program at once.
pub(super) fn drive(
    trainer: Trainer,
    run: &RunDir,
    show: &Show,
    profile: Option<Profile>,
) -> Result<Outcome> {
    let began = std::time::Instant::now();
    let stop = trainer.interrupt();
    interrupt::ends(stop.clone(), "finishing this step and saving");
    let (first, epoch) = (trainer.progress().step, trainer.progress().epoch);
    let board = show.tensorboard || run.tensorboard().is_dir();
    let mut board = board.then(|| TensorBoard::open(run, first, epoch)).transpose()?;
    let quiet = show.quiet || show.json;
    let steps = [first, trainer.last_step()];
    let mut progress = Progress::new(steps, trainer.steps_per_epoch(), trainer.settings(), quiet);
    let mut outcome = Outcome::Done;
    let mut reader = Ok(());
    // Where nobody reads any more, the run saves and ends.
    let mut tell = |line: &str| {
        if reader.is_ok() {
            reader = print(line);
            stop.fetch_or(reader.is_err(), Ordering::Relaxed);
        }
    };
    if show.json {
        let begun = Begun {
            event: "run",
            path: run.path.display().to_string(),
            adapter: trainer.info().to_string(),
            step: first,
            last_step: trainer.last_step(),
            settings: trainer.settings(),
        };
        tell(&json_line(&begun));
    }
    for event in trainer {
        let event = event?;
        if let Some(profile) = &profile
            && let Some(tables) = profile.take(matches!(event, Event::End { .. }))
        {
            progress.say(&tables);
        }
        if let Some(board) = &mut board {
            board.write(&event)?;
        }
        match (&event, show.json) {
            (Event::Step(step), true) if !step.logged => {}
            (_, true) => tell(&json_line(&event)),
            (_, false) => progress.show(&event),
        }
        if let Event::End { step, interrupted } = event {
            let time = human(began.elapsed().as_secs_f64());
            let path = quoted(&run.path);
            if interrupted {
                outcome = Outcome::Interrupted;
                progress.say(&format!("saved at step {step}; continue with: {}", show.again));
            } else {
                progress.say(&format!("done in {time}: {path}; look at it with: shiftnet report {path}"));
            }
        }
    }
    reader.map(|()| outcome)
}
