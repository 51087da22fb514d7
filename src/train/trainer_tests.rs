//! The training loop on an engine that lags behind.

use super::checkpoint::Progress;
use super::events::{self, Event};
use super::trainer::{Trainer, Work};
use super::{Flags, Setup};
use crate::engine::{Engine, Read, Span, Target, host::HostEngine};
use crate::error::Result;
use crate::gpu::AdapterInfo;
use crate::model::state;
use crate::plan::{List, Plan, View};
use std::ops::Range;
use std::sync::Arc;

type Sender = futures::channel::oneshot::Sender<Result<Vec<u8>>>;

/// A host engine whose reads finish only when somebody waits, as on a GPU that lags behind.
struct Late {
    inner: HostEngine,
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
        if wait {
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

/// Two reads of the log that arrive together share their time: neither gives a rate out of this world.
#[test]
fn late_reads_lose_no_step_and_share_their_time() {
    let flags =
        "arch = 'resnet8'\nbatch-size = 1\nlimit = 36\nlimit-val = 1\nepochs = 1\nlr = 0.01\nlog-every = 4";
    let settings = toml::from_str::<Flags>(flags).expect("valid TOML").resolve();
    let setup = Setup::new(settings.expect("legal"), Target::host()).expect("built-in images");
    let tensors = state::initial(&setup.network, setup.settings.init, 0);
    let inner =
        HostEngine::new(setup.network.plan.clone(), crate::engine::Form::Fast).expect("a small network");
    let mut engine = Late { inner, held: vec![] };
    state::upload(&mut engine, &setup.network, &tensors).expect("it fits");
    let mut progress = Progress::default();
    let layers = setup.network.store.family_layers.len();
    progress.counters().into_iter().for_each(|counter| counter.resize(layers, 0));
    let work = Work {
        steps_per_epoch: setup.steps_per_epoch(),
        augment: true,
        image_bytes: setup.source.input.image_bytes(),
        settings: setup.settings,
        train: setup.train,
        test: setup.test,
        network: setup.network,
    };
    let events = Trainer::new(work, Box::new(engine), None, progress, false);
    let steps: Vec<events::Step> = events
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
