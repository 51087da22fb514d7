//! Whole runs: both engines together, resumed ones, and one whose loss explodes.

use crate::support::{assert_relative, gpu, losses, settings, targets};
use shiftnet::Error;
use shiftnet::engine::Target;
use shiftnet::model::Network;
use shiftnet::model::state::{self, Tensors};
use shiftnet::train::{Event, RunDir, Settings, Setup, Trainer, checkpoint};
use std::sync::atomic::Ordering;

fn begin(settings: &Settings, target: &Target, run: Option<RunDir>) -> Trainer {
    let setup = Setup::new(settings.clone(), target.clone()).expect("legal settings");
    setup.begin(run).expect("a small network")
}

/// Rounding differs, and training amplifies the difference: 0.5 % at 12 steps, 5 % at 30.
#[test]
fn both_engines_train_alike() {
    let settings = settings("arch = 'resnet8'; batch-size = 8; max-steps = 30; lr = 0.01; limit-val = 1");
    let [on_gpu, on_host] = targets().map(|target| losses(&mut begin(&settings, &target, None)));
    let on_host: Vec<f64> = on_host.into_iter().map(f64::from).collect();
    assert_eq!(on_gpu.len(), 30);
    assert_relative("12 steps", &on_gpu[..12], &on_host[..12], 5e-3);
    assert_relative("30 steps", &on_gpu, &on_host, 5e-2);
}

/// Labels are smoothed in training alone: the loss there moves in proportion, and the evaluation's is the plain one.
#[test]
fn evaluation_knows_no_smoothed_labels() {
    let common = "arch = 'resnet8'; batch-size = 4; accumulate = 2; limit = 4; limit-val = 5; epochs = 1; lr = 1e-30; wd = 0.0";
    for target in targets() {
        let [plain, quarter, half] = [0.0, 0.25, 0.5].map(|smoothing| {
            let settings = settings(&format!("{common}; label-smoothing = {smoothing:?}"));
            let epoch = begin(&settings, &target, None).find_map(|event| match event.expect("it trains") {
                Event::Epoch(epoch) => Some(epoch),
                _ => None,
            });
            epoch.expect("one epoch")
        });
        let [half_off, quarter_off] = [&half, &quarter].map(|epoch| epoch.train_loss - plain.train_loss);
        assert!(quarter_off.abs() > 1e-3, "{quarter_off} on {}", target.info());
        assert!(
            (half_off - 2.0 * quarter_off).abs() < 1e-5,
            "{half_off}, {quarter_off} on {}",
            target.info()
        );
        assert_eq!((plain.val_loss, plain.val_loss), (quarter.val_loss, half.val_loss), "{}", target.info());
    }
}

/// How a run is stopped.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// By `max-steps`, with an evaluation.
    MaxSteps,
    /// As Ctrl-C does.
    Interrupt,
    /// Without a word; the last checkpoint is the one of `checkpoint-every`.
    Kill,
}

/// Trains in `run`, resuming what is there, until it ends or `stop` comes at a step.
fn train(settings: &Settings, target: &Target, run: &RunDir, stop: Option<(Stop, u64)>) {
    let mut settings = settings.clone();
    if let Some((Stop::MaxSteps, step)) = stop {
        settings.max_steps = Some(step);
    }
    let setup = Setup::new(settings, target.clone()).expect("legal settings");
    let mut trainer = setup.resume(run.clone()).expect("a whole checkpoint, or none");
    let interrupt = trainer.interrupt();
    while let Some(event) = trainer.next() {
        event.expect("the run goes well");
        match stop {
            Some((Stop::Interrupt, step)) if trainer.progress().step >= step => {
                interrupt.store(true, Ordering::Relaxed);
            }
            Some((Stop::Kill, step)) if trainer.progress().step >= step => return,
            _ => {}
        }
    }
}

/// k steps, a stop and m steps write the checkpoint of k + m steps, to the byte; so do two equal runs.
fn resumed_runs_are_equal(target: &Target, lines: &str, stops: &[&[(Stop, u64)]]) {
    // Epochs of 3 steps.
    let common = "arch = 'resnet8'; init = 'normal'; epochs = 2; limit-val = 3; lr = 0.1; log-every = 1; ";
    let settings = settings(&format!("{common}{lines}"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = |name: String| {
        let run = RunDir::new(directory.path().join(name));
        std::fs::create_dir(&run.path).expect("a new directory");
        run
    };
    let bytes =
        |run: &RunDir| [run.last(), run.best()].map(|path| std::fs::read(path).expect("a checkpoint"));
    let steps = |run: &RunDir| {
        let text = std::fs::read_to_string(run.metrics()).expect("metrics");
        let lines = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).expect("JSON"));
        lines.map(|l| (l["step"].as_u64().expect("a number"), l["loss"].to_string())).collect::<Vec<_>>()
    };
    let whole = run("whole".into());
    train(&settings, target, &whole, None);
    assert_eq!(steps(&whole).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2, 3, 3, 4, 5, 6, 6]);
    for (i, stops) in stops.iter().enumerate() {
        let parts = run(format!("parts {i}"));
        for &stop in *stops {
            train(&settings, target, &parts, Some(stop));
        }
        train(&settings, target, &parts, None);
        assert!(bytes(&parts) == bytes(&whole), "{lines} on {}: {stops:?}", target.info().name);
        assert_eq!(steps(&parts), steps(&whole), "{lines} on {}: {stops:?}", target.info().name);
    }
}

#[test]
fn resumed_runs_are_equal_on_the_gpu() {
    use Stop::*;
    let stops: &[&[(Stop, u64)]] =
        &[&[], &[(MaxSteps, 3)], &[(MaxSteps, 2), (Interrupt, 4)], &[(Kill, 2), (Interrupt, 3), (Kill, 5)]];
    let micro = "batch-size = 4; accumulate = 2; limit = 13; checkpoint-every = 1; bn-batches = 2";
    resumed_runs_are_equal(&gpu(), micro, stops);
    resumed_runs_are_equal(
        &gpu(),
        "batch-size = 4; limit = 14; method = 'fp32'; checkpoint-every = 2",
        stops,
    );
    resumed_runs_are_equal(&gpu(), "batch-size = 4; limit = 14; bits = 4; shortcut = 'a'", &stops[2..]);
    resumed_runs_are_equal(&gpu(), "batch-size = 4; limit = 14; method = 'ternary'", &stops[2..3]);
}

#[test]
fn resumed_runs_are_equal_on_the_host() {
    use Stop::*;
    let stops: &[&[(Stop, u64)]] = &[&[], &[(MaxSteps, 2), (Kill, 4)], &[(Interrupt, 3)]];
    resumed_runs_are_equal(
        &Target::host(),
        "batch-size = 2; accumulate = 2; limit = 6; checkpoint-every = 2",
        stops,
    );
    let renewed = "batch-size = 2; limit = 7; method = 'fp32'; bn-batches = 9";
    resumed_runs_are_equal(&Target::host(), renewed, &stops[1..]);
    for method in ["denseshift", "deepshift-q", "deepshift-ps", "ternary"] {
        let lines = format!("batch-size = 2; limit = 7; method = '{method}'");
        resumed_runs_are_equal(&Target::host(), &lines, &stops[1..2]);
    }
}

/// `bn-batches` moves no parameter, and leaves the running statistics that training at a rate of nearly 0 would have left.
#[test]
fn renewed_statistics_are_those_of_the_weights_as_they_are() {
    let common = "arch = 'resnet8'; batch-size = 4; limit = 24; limit-val = 1; epochs = 1; augment = 'none'";
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = RunDir::new(directory.path());
    let trained = |target: &Target, lines: &str, run: Option<RunDir>| -> Tensors {
        let mut trainer = begin(&settings(&format!("{common}; {lines}")), target, run);
        trainer.by_ref().for_each(|event| drop(event.expect("it trains")));
        let network = trainer.network().clone();
        state::download(trainer.engine(), &network).expect("the engine runs")
    };
    let only = |tensors: &Tensors, statistics: bool| {
        let mut own = tensors.clone();
        own.retain(|name, _| name.contains("running_") == statistics);
        own
    };
    for target in targets() {
        let plain = trained(&target, "lr = 0.4", Some(run.clone()));
        // All 6 of the epoch.
        let renewed = trained(&target, "lr = 0.4; bn-batches = 100", None);
        assert!(only(&plain, false) == only(&renewed, false), "{}", target.info());
        assert!(only(&plain, true) != only(&renewed, true), "{}", target.info());
        let still = format!("lr = 1e-30; wd = 0.0; init-from = '{}'", run.last().display());
        let still = trained(&target, &still, None);
        assert!(only(&still, true) == only(&renewed, true), "{}", target.info());
    }
}

fn parameters(trainer: &mut Trainer) -> Tensors {
    let network = trainer.network().clone();
    let mut tensors = state::download(trainer.engine(), &network).expect("the engine runs");
    tensors.retain(|name, _| !name.contains("running_"));
    tensors
}

/// Trains at a rate far too large until the run fails; returns the error's step, loss, tensor and checkpoint.
fn explode(trainer: &mut Trainer) -> (u64, f32, String, String) {
    let mut told = None;
    let error = loop {
        match trainer.next().expect("the run cannot go well") {
            Ok(Event::Step(step)) => told = Some(step),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(trainer.next().is_none(), "the run is over");
    let told = told.expect("it began");
    match error {
        Error::NonFinite { step, loss, layer, checkpoint } => {
            // The step is told of, and logged, like those before it.
            assert!(
                told.step == step && told.loss.to_bits() == loss.to_bits(),
                "{told:?}: step {step}, {loss}"
            );
            assert!(told.logged || loss.is_finite(), "{told:?}");
            (step, loss, layer, checkpoint)
        }
        other => panic!("{other}"),
    }
}

const FAR_TOO_LARGE: &str =
    "arch = 'resnet8'; batch-size = 4; accumulate = 2; lr = 1e15; limit = 40; limit-val = 1; method = ";

/// The error names the step and a tensor, and the update has stood still since: parameters and momenta are still those
/// that the step before left, which a run that ends there has too.
#[test]
fn a_loss_that_is_not_finite_ends_the_run() {
    for (target, method) in targets().iter().flat_map(|t| [(t, "'s3'"), (t, "'fp32'")]) {
        let settings = settings(&format!("{FAR_TOO_LARGE}{method}"));
        let mut failed = begin(&settings, target, None);
        let (step, loss, layer, checkpoint) = explode(&mut failed);
        assert!(step > 1 && !loss.is_finite(), "step {step}: {loss}");
        let Network { plan, store, .. } = failed.network();
        let tensors = store.tensors.iter().map(|tensor| &tensor.name);
        assert!(tensors.chain(plan.buffers.iter().map(|b| &b.name)).any(|name| *name == layer), "{layer}");
        assert_eq!(checkpoint, "none yet");
        let mut shorter = begin(&settings, target, None);
        while shorter.progress().step < step - 1 {
            // Without evaluation and checkpoints, a run shows nothing but its steps.
            assert!(matches!(shorter.next(), Some(Ok(Event::Step(_)))));
        }
        let [ours, theirs] = [&mut failed, &mut shorter].map(parameters);
        assert_eq!(ours.len(), theirs.len());
        for ((name, (_, ours)), (_, theirs)) in ours.iter().zip(theirs.values().map(|t| ((), &t.1))) {
            let same = ours.iter().zip(theirs).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{name}, {method} on {}", target.info().name);
        }
    }
}

/// While batch norms' statistics are renewed, a loss that is not finite stops the updates as it does in a step; here the status is
/// set by hand.
#[test]
fn a_stop_while_statistics_are_renewed_is_an_error() {
    for target in targets() {
        let settings = settings(
            "arch = 'resnet8'; batch-size = 2; limit = 4; limit-val = 1; epochs = 2; bn-batches = 1",
        );
        let mut trainer = begin(&settings, &target, None);
        let status = trainer.network().io.status;
        let error = loop {
            match trainer.next().expect("it does not end well") {
                Ok(Event::Step(step)) if step.step == 1 => {
                    trainer.engine().write(status, bytemuck::bytes_of(&[2u32, 0, 0, 0])).expect("it fits");
                }
                Ok(_) => {}
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("--bn-batches"), "{error}");
    }
}

/// Where an update overflows behind a finite loss, that does not become the last checkpoint.
#[test]
fn checkpoints_are_finite() {
    for target in targets() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let run = RunDir::new(directory.path());
        let settings = settings(&format!("{FAR_TOO_LARGE}'s3'; checkpoint-every = 1"));
        let (step, loss, tensor, checkpoint) = explode(&mut begin(&settings, &target, Some(run.clone())));
        assert_eq!(checkpoint, run.last().display().to_string());
        let (tensors, progress) = shiftnet::train::checkpoint::read(&run.last()).expect("whole");
        assert_eq!(progress.step, step - 1);
        // Behind a loss that is not finite, an activation may come first.
        assert!(tensors.contains_key(&tensor) || !loss.is_finite(), "{tensor}");
        assert!(tensors.values().all(|(_, values)| values.iter().all(|value| value.is_finite())));
    }
}

/// Events come in order: every step once, an epoch after its last step, the checkpoint after that, the end last.
#[test]
fn events_come_in_order() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let settings = settings("arch = 'resnet8'; batch-size = 2; limit = 4; limit-val = 2; epochs = 2");
    let events = begin(&settings, &gpu(), Some(RunDir::new(directory.path())))
        .map(|event| match event.expect("the run goes well") {
            Event::Step(step) => format!("step {}", step.step),
            Event::Epoch(epoch) => format!("epoch {}", epoch.epoch),
            Event::Checkpoint { step, .. } => format!("checkpoint {step}"),
            Event::Warning { message } => message,
            Event::End { step, interrupted } => format!("end {step} {interrupted}"),
        })
        .collect::<Vec<_>>();
    let expected =
        "step 1, step 2, epoch 0, checkpoint 2, step 3, step 4, epoch 1, checkpoint 4, end 4 false";
    assert_eq!(events.join(", "), expected);
}

/// A checkpoint that stands behind the end of its epoch, as one of a dataset that was larger does, is refused.
#[test]
fn a_position_past_the_epochs_end_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = RunDir::new(directory.path());
    let settings = settings("arch = 'resnet8'; batch-size = 2; limit = 8; limit-val = 1; max-steps = 2");
    let resume = |settings: &Settings| {
        Setup::new(settings.clone(), Target::host()).expect("legal settings").resume(run.clone())
    };
    resume(&settings).expect("a new run").for_each(|event| drop(event.expect("it runs")));
    let (tensors, mut progress) = checkpoint::read(&run.last()).expect("whole");
    for step in [4, 5] {
        progress.step_in_epoch = step;
        let forged = checkpoint::encode(&tensors, &progress).expect("it was one");
        std::fs::write(run.last(), forged).expect("a small file");
        let longer = Settings { max_steps: Some(3), ..settings.clone() };
        let refused = resume(&longer).err().expect("of 4 steps").to_string();
        assert!(refused.contains(&format!("stands at step {step} of an epoch of 4")), "{refused}");
    }
}
