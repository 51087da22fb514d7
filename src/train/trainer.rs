//! The training loop, as an iterator of events. It prints nothing.

mod clock;
mod epochs;

use super::checkpoint::{self, Progress};
use super::diagnostics;
use super::events::{self, Event};
use super::run_dir::RunDir;
use super::settings::{Augment, Settings};
use crate::data::{Batch, Dataset, Loader, Reading, Variation};
use crate::engine::{Engine, Read};
use crate::error::{Error, Result};
use crate::files;
use crate::gpu::AdapterInfo;
use crate::kernels::latent_update::COUNTERS;
use crate::kernels::{Step, softmax_cross_entropy};
use crate::model::{Network, state};
use crate::plan::List;
use crate::rng::{self, Draws, Stream};
use clock::Clock;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Steps after which the log is read at the latest; its rows are overwritten after [`softmax_cross_entropy::ROWS`].
const READ_EVERY: u64 = 32;
const _: () = assert!(READ_EVERY as usize * 2 <= softmax_cross_entropy::ROWS);

/// What a trainer works on.
pub struct Work {
    pub settings: Settings,
    /// Whether images are varied on the engine.
    pub augment: bool,
    pub image_bytes: usize,
    pub train: Arc<dyn Dataset>,
    pub test: Arc<dyn Dataset>,
    pub network: Network,
    pub steps_per_epoch: u64,
}

/// A run in progress.
pub struct Trainer {
    work: Work,
    engine: Box<dyn Engine>,
    run: Option<RunDir>,
    /// Whether it began from a checkpoint of its own.
    resumed: bool,
    /// Whether it has gone on from where it began.
    begun: bool,
    /// Step and position count submitted steps, the sums those whose loss has been read.
    progress: Progress,
    /// Steps whose loss has been read, and the last of them.
    read: u64,
    loss: f32,
    /// Reads of the log under way, each with the step after which it was taken.
    reads: VecDeque<(Read, u64)>,
    /// The counters of what changed when they were last read.
    changes_seen: Vec<u32>,
    loader: Option<Loader>,
    /// Of the step that ended the epoch, by layer and latent.
    gradient_norms: Vec<BTreeMap<String, f64>>,
    /// What was said of images that cannot be read.
    unreadable: HashSet<String>,
    /// What has not been taken yet; an error is the last.
    events: VecDeque<Result<Event>>,
    interrupt: Arc<AtomicBool>,
    ended: bool,
    clock: Clock,
}

impl Trainer {
    pub(super) fn new(
        work: Work,
        engine: Box<dyn Engine>,
        run: Option<RunDir>,
        progress: Progress,
        resumed: bool,
    ) -> Trainer {
        Trainer {
            read: progress.step,
            loss: 0.0,
            changes_seen: vec![0; work.network.store.family_layers.len() * COUNTERS],
            work,
            engine,
            run,
            resumed,
            begun: false,
            progress,
            reads: VecDeque::new(),
            loader: None,
            gradient_norms: Vec::new(),
            unreadable: HashSet::new(),
            events: VecDeque::new(),
            interrupt: Arc::default(),
            ended: false,
            clock: Clock::default(),
        }
    }

    /// Set it to have the run save and end after the step under way.
    pub fn interrupt(&self) -> Arc<AtomicBool> {
        self.interrupt.clone()
    }

    /// Where the run stands.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What it was begun with, or resumed with.
    pub fn settings(&self) -> &Settings {
        &self.work.settings
    }

    /// Steps of an epoch, each of a whole batch: images that do not fill one are left out.
    pub fn steps_per_epoch(&self) -> u64 {
        self.work.steps_per_epoch
    }

    /// The network with its plan.
    pub fn network(&self) -> &Network {
        &self.work.network
    }

    /// What runs.
    pub fn info(&self) -> &AdapterInfo {
        self.engine.info()
    }

    /// What executes the plan, for reads between steps.
    pub fn engine(&mut self) -> &mut dyn Engine {
        self.engine.as_mut()
    }

    /// The step at which the run ends.
    pub fn last_step(&self) -> u64 {
        let all = self.work.settings.epochs.saturating_mul(self.work.steps_per_epoch);
        self.work.settings.max_steps.map_or(all, |most| most.min(all))
    }

    /// Whether there is nothing left to do.
    pub fn is_finished(&self) -> bool {
        let Settings { epochs, max_steps, .. } = self.work.settings;
        self.progress.epoch >= epochs
            // A new run of no steps still has to save what it begins with.
            || ((self.progress.step > 0 || self.resumed)
                && max_steps.is_some_and(|most| self.progress.step >= most))
    }

    /// Whether the epoch, or the run, ends with the step that was begun last.
    fn is_at_an_end(&self) -> bool {
        self.progress.step_in_epoch == self.work.steps_per_epoch || self.progress.step >= self.last_step()
    }

    /// One training step.
    fn step(&mut self) -> Result<()> {
        let mut began = Instant::now();
        let batch = self.next_batch()?;
        self.clock.wait += began.elapsed().as_secs_f64();
        self.progress.corrupt_images += batch.unreadable.len() as u64;
        self.warn_of(&batch.unreadable)?;
        self.progress.step += 1;
        self.progress.step_in_epoch += 1;
        for micro in 0..self.work.settings.accumulate {
            self.feed(&batch, self.progress.step, micro)?;
            self.engine.run(List::Forward)?;
            self.engine.run(if micro == 0 { List::Backward } else { List::BackwardAdd })?;
        }
        if self.is_at_an_end() {
            // What is measured is no time of the step's.
            self.engine.poll(true)?;
            let measuring = Instant::now();
            self.measure_gradients()?;
            began += measuring.elapsed();
        }
        self.engine.run(List::Update)?;
        tracing::debug!("step {} is submitted", self.progress.step);
        self.clock.count();
        self.clock.add(began);
        let began = Instant::now();
        self.report()?;
        self.clock.add(began);
        Ok(())
    }

    /// The order of the images in the running epoch, without the incomplete last batch.
    fn order(&self) -> Vec<u32> {
        let len = self.work.train.len() as u32;
        let mut order = match self.work.settings.shuffle {
            true => {
                let epoch = self.progress.epoch as u32;
                Draws::new(self.work.settings.seed, Stream::Shuffle, epoch, 0).permutation(len)
            }
            false => (0..len).collect(),
        };
        order.truncate(self.work.steps_per_epoch as usize * self.work.settings.batch_size);
        order
    }

    fn next_batch(&mut self) -> Result<Batch> {
        if self.loader.is_none() {
            let batch = self.work.settings.batch_size;
            let order = self.order().split_off(self.progress.step_in_epoch as usize * batch);
            self.loader = Some(Loader::new(self.work.train.clone(), order, batch, self.reading()));
        }
        self.loader.as_mut().expect("made above").expect_batch()
    }

    /// How training images are read.
    fn reading(&self) -> Reading {
        let Settings { seed, augment, strict, .. } = self.work.settings;
        let vary = Variation { seed, epoch: self.progress.epoch as u32 };
        let vary = (augment == Augment::Standard).then_some(vary);
        Reading { image_bytes: self.work.image_bytes, vary, strict }
    }

    /// Warns of images that cannot be read, once of each.
    fn warn_of(&mut self, unreadable: &[String]) -> Result<()> {
        for problem in unreadable {
            if self.unreadable.insert(problem.clone()) {
                let message =
                    format!("{problem}. The next image takes its place; --strict makes this an error");
                self.emit(Event::Warning { message })?;
            }
        }
        Ok(())
    }

    /// Writes micro-batch `micro` of `step`'s batch to the engine.
    fn feed(&mut self, batch: &Batch, step: u64, micro: usize) -> Result<()> {
        let n = self.work.settings.micro_batch();
        let io = self.work.network.io;
        let header = Step {
            step: step as u32,
            slot: (step % softmax_cross_entropy::ROWS as u64) as u32,
            micro: micro as u32,
            first: (micro * n) as u32,
            seed: rng::key(self.work.settings.seed),
            lr: self.lr(),
            augment: self.work.augment.into(),
        };
        let bytes = n * self.work.image_bytes;
        io.write_step(self.engine.as_mut(), &header)?;
        io.write_images(self.engine.as_mut(), &batch.images[micro * bytes..][..bytes])?;
        io.write_labels(self.engine.as_mut(), &batch.labels[micro * n..][..n])
    }

    fn lr(&self) -> f32 {
        let Settings { schedule, lr, epochs, .. } = self.work.settings;
        schedule.lr(lr, self.progress.epoch, epochs)
    }

    /// Takes the losses that have arrived, and asks for more where none are under way.
    fn report(&mut self) -> Result<()> {
        self.engine.poll(false)?;
        let mut arrived = Vec::new();
        while let Some((read, step)) = self.reads.front_mut() {
            let Some(bytes) = read.take()? else { break };
            arrived.push((bytes, *step));
            self.reads.pop_front();
        }
        if let Some(&(_, last)) = arrived.last() {
            // One rate for all that arrived together.
            let [steps_per_s, data_wait_s] = self.clock.speed();
            let images_per_s = steps_per_s * self.work.settings.batch_size as f64;
            let every = self.work.settings.log_every;
            if last / every > self.read / every {
                self.clock.begin_line();
            }
            for (bytes, step) in arrived {
                self.absorb(&bytes, step, [images_per_s, data_wait_s])?;
            }
        }
        let asked = self.reads.back().map_or(self.read, |(_, step)| *step);
        if asked < self.progress.step && (self.reads.is_empty() || self.progress.step - asked >= READ_EVERY) {
            let read = self.engine.read(self.work.network.io.log)?;
            self.reads.push_back((read, self.progress.step));
        }
        Ok(())
    }

    /// Turns the rows of the log up to step `last` into events.
    fn absorb(&mut self, bytes: &[u8], last: u64, speed: [f64; 2]) -> Result<()> {
        let rows: Vec<[f32; 4]> = bytemuck::pod_collect_to_vec(bytes);
        let lr = self.lr();
        let [images_per_s, data_wait_s] = speed;
        while self.read < last {
            let [loss, top1, _, at] = rows[((self.read + 1) % softmax_cross_entropy::ROWS as u64) as usize];
            let (epoch, step) = (self.progress.epoch, self.read + 1);
            let mut line = events::Step { epoch, step, loss, lr, images_per_s, data_wait_s, logged: true };
            if !loss.is_finite() {
                let error = self.not_finite(step, loss);
                // Where the line cannot be written, the loss is still what ended the run.
                let _ = self.emit(Event::Step(line));
                return Err(error);
            }
            self.read = step;
            self.loss = loss;
            debug_assert_eq!(at, step as f32, "a row of the log was overwritten before it was read");
            self.progress.loss_sum += f64::from(loss);
            self.progress.top1_sum += f64::from(top1);
            line.logged = step.is_multiple_of(self.work.settings.log_every);
            self.emit(Event::Step(line))?;
        }
        Ok(())
    }

    /// Emits an event; what belongs into the metrics goes there first.
    pub(super) fn emit(&mut self, event: Event) -> Result<()> {
        let keep = match &event {
            Event::Step(step) => step.logged,
            Event::Epoch(_) => true,
            _ => false,
        };
        if let (true, Some(run)) = (keep, &self.run) {
            run.append(&event)?;
        }
        self.events.push_back(Ok(event));
        Ok(())
    }

    /// Waits for every step's loss and for the counters of what changed.
    fn flush(&mut self) -> Result<()> {
        let began = Instant::now();
        if self.reads.back().map_or(self.read, |(_, step)| *step) < self.progress.step {
            let read = self.engine.read(self.work.network.io.log)?;
            self.reads.push_back((read, self.progress.step));
        }
        self.engine.poll(true)?;
        self.clock.add(began);
        self.report()?;
        debug_assert_eq!(self.read, self.progress.step);
        if let Some(changes) = self.work.network.store.changes {
            let now: Vec<u32> = bytemuck::pod_collect_to_vec(&self.engine.fetch(changes)?);
            let sums = self.progress.counters();
            for (i, (now, seen)) in now.into_iter().zip(&mut self.changes_seen).enumerate() {
                sums[i % COUNTERS][i / COUNTERS] += u64::from(now.wrapping_sub(*seen));
                *seen = now;
            }
        }
        Ok(())
    }

    /// Saves the run within an epoch.
    fn save(&mut self) -> Result<()> {
        self.flush()?;
        let Some(run) = self.run.clone() else { return Ok(()) };
        let tensors = self.finite_tensors()?;
        self.write_last(&run, &checkpoint::encode(&tensors, &self.progress)?)
    }

    /// What a checkpoint holds. An update may leave a number that is not finite behind a loss that was: the run
    /// ends before that takes the place of the last good checkpoint.
    fn finite_tensors(&mut self) -> Result<state::Tensors> {
        let tensors = state::download(self.engine.as_mut(), &self.work.network)?;
        let finite = |(_, values): &(Vec<usize>, Vec<f32>)| values.iter().all(|value| value.is_finite());
        if tensors.values().all(finite) {
            return Ok(tensors);
        }
        // The first in the network's order.
        let own = self.work.network.store.tensors.iter().map(|tensor| &tensor.name);
        let broken = |name: &&String| tensors.get(*name).is_some_and(|tensor| !finite(tensor));
        let name = own.chain(tensors.keys()).find(broken).cloned().unwrap_or_default();
        Err(self.not_finite_at(self.progress.step, self.loss, name))
    }

    fn write_last(&mut self, run: &RunDir, checkpoint: &[u8]) -> Result<()> {
        files::write(&run.last(), checkpoint)?;
        self.emit(Event::Checkpoint { step: self.progress.step, path: run.last() })
    }

    /// The error for a loss that is not finite. The update kernels have stood still since, so that the step
    /// can be run again to find the layer.
    fn not_finite(&mut self, step: u64, loss: f32) -> Error {
        match self.find_not_finite(step) {
            Ok(layer) => self.not_finite_at(step, loss, layer),
            Err(error) => error,
        }
    }

    fn not_finite_at(&self, step: u64, loss: f32, layer: String) -> Error {
        Error::NonFinite { step, loss, layer, checkpoint: self.last_checkpoint() }
    }

    /// A GPU's error, with where the run can be continued from.
    fn with_checkpoint(&self, error: Error) -> Error {
        match error {
            Error::Gpu(message) => {
                Error::Gpu(format!("{message} (last checkpoint: {})", self.last_checkpoint()))
            }
            other => other,
        }
    }

    fn last_checkpoint(&self) -> String {
        match &self.run {
            Some(run) if run.last().exists() => run.last().display().to_string(),
            _ => "none yet".into(),
        }
    }

    fn find_not_finite(&mut self, step: u64) -> Result<String> {
        let batch = self.work.settings.batch_size;
        let begin = self.progress.step - self.progress.step_in_epoch;
        let first = (step - 1 - begin) as usize * batch;
        let order = self.order();
        let batch = Batch::read(self.work.train.as_ref(), &order[first..first + batch], self.reading())?;
        for micro in 0..self.work.settings.accumulate {
            self.feed(&batch, step, micro)?;
            if let Some(name) = diagnostics::first_not_finite(self.engine.as_mut(), &self.work.network)? {
                return Ok(name);
            }
        }
        Ok("the loss itself".into())
    }

    /// Goes on until there is an event, or the end.
    fn advance(&mut self) -> Result<()> {
        let step = self.progress.step;
        if self.interrupt.load(Ordering::Relaxed) {
            self.save()?;
            return self.end(true);
        }
        if self.is_finished() {
            return self.end(false);
        }
        if let (false, Some(run)) = (self.begun, &self.run) {
            run.cut_metrics(step, self.progress.epoch)?;
        }
        self.begun = true;
        // Only a run of no steps at all is here at its last step.
        if step < self.last_step() {
            if self.progress.step_in_epoch == 0 {
                self.begin_epoch()?;
            }
            self.step()?;
        }
        let step = self.progress.step;
        let every = self.work.settings.checkpoint_every;
        if self.is_at_an_end() {
            self.end_epoch()?;
            if step >= self.last_step() {
                self.end(false)?;
            }
        } else if every.is_some_and(|every| step.is_multiple_of(every)) {
            self.save()?;
        }
        Ok(())
    }

    fn end(&mut self, interrupted: bool) -> Result<()> {
        self.ended = true;
        self.emit(Event::End { step: self.progress.step, interrupted })
    }
}

impl Iterator for Trainer {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            if let Err(mut error) = self.advance() {
                self.ended = true;
                // The losses of the steps before are still written, where the device can tell them. One that is not finite came
                // first.
                if !matches!(error, Error::NonFinite { .. } | Error::Gpu(_))
                    && let Err(earlier @ Error::NonFinite { .. }) = self.flush()
                {
                    error = earlier;
                }
                let error = self.with_checkpoint(error);
                self.events.push_back(Err(error));
            }
        }
    }
}
