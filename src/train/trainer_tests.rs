//! The training loop on an engine that lags behind.

use super::checkpoint::Progress;
use super::events::{self, Event};
use super::trainer::{Trainer, Work};
use super::{Flags, Setup};
use crate::data::Dataset;
use crate::engine::{Engine, Read, Span, Target, host::HostEngine};
use crate::error::{Error, Result};
use crate::gpu::AdapterInfo;
use crate::model::state;
use crate::plan::{List, Plan, View};
use std::ops::Range;
use std::sync::Arc;

type Sender = futures::channel::oneshot::Sender<Result<Vec<u8>>>;

/// A host engine whose reads finish with the next poll, as on a GPU, or, where it lags behind, only when somebody waits.
struct Late {
    inner: HostEngine,
    lags: bool,
    held: Vec<(Sender, Vec<u8>)>,
}

impl Engine for Late {
    fn info(&self) -> &AdapterInfo {
        self.inner.info()
    }

    fn plan(&self) -> &Arc<Plan> {
        self.inner.plan()
    }

    fn write(&mut self, view: View, data: &[u8]) -> Result<()> {
        self.inner.write(view, data)
    }

    fn run_part(&mut self, list: List, range: Range<usize>) -> Result<()> {
        self.inner.run_part(list, range)
    }

    fn read(&mut self, view: View) -> Result<Read> {
        let (sender, read) = Read::new();
        self.held.push((sender, self.inner.fetch(view)?));
        Ok(read)
    }

    fn poll(&mut self, wait: bool) -> Result<()> {
        if wait || !self.lags {
            for (sender, bytes) in self.held.drain(..) {
                sender.send(Ok(bytes)).expect("the trainer keeps its reads");
            }
        }
        Ok(())
    }

    fn profile_part(&mut self, list: List, range: Range<usize>) -> Result<Option<Vec<Span>>> {
        self.inner.profile_part(list, range)
    }
}

/// Images of which one cannot be read, nor any other in its place.
struct Torn {
    inner: Arc<dyn Dataset>,
    at: usize,
}

impl Dataset for Torn {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32> {
        match index == self.at {
            true => Err(Error::Usage("torn".into())),
            false => self.inner.read(index, pixels),
        }
    }
}

/// Images that take ten milliseconds each.
struct Slow(Arc<dyn Dataset>);

impl Dataset for Slow {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32> {
        std::thread::sleep(std::time::Duration::from_millis(10));
        self.0.read(index, pixels)
    }
}

/// A trainer of a small run, by `flags`, on an engine that lags behind.
fn late(flags: &str, train: impl FnOnce(Arc<dyn Dataset>) -> Arc<dyn Dataset>) -> Trainer {
    on(true, flags, train)
}

/// A trainer of a small run, by `flags`.
fn on(lags: bool, flags: &str, train: impl FnOnce(Arc<dyn Dataset>) -> Arc<dyn Dataset>) -> Trainer {
    let settings = toml::from_str::<Flags>(flags).expect("valid TOML").resolve();
    let setup = Setup::new(settings.expect("legal"), Target::host()).expect("built-in images");
    let tensors = state::initial(&setup.network, setup.settings.init, 0);
    let inner =
        HostEngine::new(setup.network.plan.clone(), crate::engine::Form::Fast).expect("a small network");
    let mut engine = Late { inner, lags, held: vec![] };
    state::upload(&mut engine, &setup.network, &tensors).expect("it fits");
    let mut progress = Progress::default();
    let layers = setup.network.store.family_layers.len();
    progress.counters().into_iter().for_each(|counter| counter.resize(layers, 0));
    let work = Work {
        steps_per_epoch: setup.steps_per_epoch(),
        augment: true,
        image_bytes: setup.source.input.image_bytes(),
        settings: setup.settings,
        train: train(setup.train),
        test: setup.test,
        network: setup.network,
    };
    Trainer::new(work, Box::new(engine), None, progress, false)
}

/// An error of the data leaves no step untold that ran before it.
#[test]
fn steps_before_an_error_are_told() {
    let flags = "arch = 'resnet8'\nbatch-size = 1\nlimit = 9\nlimit-val = 1\nepochs = 1\nshuffle = false";
    let events: Vec<_> = late(flags, |inner| Arc::new(Torn { inner, at: 7 })).collect();
    let [steps @ .., error] = &events[..] else { panic!("no events") };
    let steps: Vec<u64> = steps
        .iter()
        .map(|event| match event {
            Ok(Event::Step(step)) => step.step,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(steps, [1, 2, 3, 4, 5, 6, 7]);
    assert!(matches!(error, Err(Error::Usage(problem)) if problem == "torn"));
}

/// Two reads of the log that arrive together share their time: neither gives a rate out of this world.
#[test]
fn late_reads_lose_no_step_and_share_their_time() {
    let flags =
        "arch = 'resnet8'\nbatch-size = 1\nlimit = 36\nlimit-val = 1\nepochs = 1\nlr = 0.01\nlog-every = 4";
    let steps: Vec<events::Step> = late(flags, |train| train)
        .filter_map(|event| match event.expect("it runs") {
            Event::Step(step) => Some(step),
            _ => None,
        })
        .collect();
    assert_eq!(steps.iter().map(|s| s.step).collect::<Vec<_>>(), (1..=36).collect::<Vec<_>>());
    for step in steps {
        assert!(step.images_per_s < 1e5, "step {}: {} images/s", step.step, step.images_per_s);
    }
}

/// The time in which a step was read is the time of the steps that it tells of: nothing waits longer than it takes.
#[test]
fn waiting_for_data_is_a_part_of_the_time() {
    let flags =
        "arch = 'resnet8'\nbatch-size = 1\nlimit = 12\nlimit-val = 1\nepochs = 1\nlr = 0.01\nlog-every = 1";
    let mut lines = 0;
    for event in on(false, flags, |inner| Arc::new(Slow(inner))) {
        if let Event::Step(step) = event.expect("it runs") {
            let share = step.data_wait_s * step.images_per_s;
            assert!((0.0..1.001).contains(&share), "step {}: {share}", step.step);
            lines += 1;
        }
    }
    assert_eq!(lines, 12);
}
