//! An engine around another that records when the dispatches of some training steps ran. Each list runs exactly once,
//! with or without the record.

use super::{Engine, Read, Span};
use crate::error::Result;
use crate::gpu::AdapterInfo;
use crate::plan::{List, Plan, View};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// One run of a list in a recorded step. Times are in ms; `begin` counts from the first recorded step.
#[derive(Clone, Debug)]
pub struct Run {
    /// From 0, among the recorded steps.
    pub step: u64,
    pub list: List,
    pub begin: f64,
    /// On the host's clock, with the wait for the end.
    pub ms: f64,
    /// One a dispatch; `None` where the adapter has no clock for it.
    pub spans: Option<Vec<Span>>,
}

/// What was recorded.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// What ran.
    pub plan: Arc<Plan>,
    /// Recorded steps that are complete.
    pub steps: u64,
    /// In the order in which they ran.
    pub runs: Vec<Run>,
    /// Begin and duration of each write to the engine, in ms.
    pub writes: Vec<[f64; 2]>,
}

/// Says which steps to record, and gives what was recorded. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Steps still to let pass, and to record after those.
    skip: u64,
    left: u64,
    since: Option<Instant>,
    recording: Recording,
}

impl Recorder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Records `steps` steps after the next `skip`.
    pub fn begin(&self, skip: u64, steps: u64) {
        *self.state() = State { skip, left: steps, ..State::default() };
    }

    /// What was recorded, once all the steps were, or with `now` whatever there is of complete steps.
    pub fn take(&self, now: bool) -> Option<Recording> {
        let mut state = self.state();
        if state.recording.steps == 0 || (state.left > 0 && !now) {
            return None;
        }
        state.left = 0;
        Some(std::mem::take(&mut state.recording))
    }
}

impl State {
    fn is_on(&self) -> bool {
        self.skip == 0 && self.left > 0
    }

    /// Milliseconds since the first recorded step began.
    fn now(&mut self) -> f64 {
        self.since.get_or_insert_with(Instant::now).elapsed().as_secs_f64() * 1e3
    }

    /// Counts a step, which ends with its update.
    fn end(&mut self, list: List) {
        if list != List::Update {
            return;
        }
        if self.is_on() {
            self.left -= 1;
            self.recording.steps += 1;
        }
        self.skip = self.skip.saturating_sub(1);
    }
}

/// An engine whose training steps are recorded by a [`Recorder`].
pub struct Profiled {
    inner: Box<dyn Engine>,
    recorder: Recorder,
}

impl Profiled {
    /// Records what `inner` runs where `recorder` says so.
    pub fn new(inner: Box<dyn Engine>, recorder: Recorder) -> Profiled {
        Profiled { inner, recorder }
    }

    fn record(&mut self, list: List) -> Result<()> {
        // What was submitted before is not this list's.
        self.inner.poll(true)?;
        let begin = self.recorder.state().now();
        let spans = self.inner.profile(list)?;
        if spans.is_none() {
            self.inner.run(list)?;
            self.inner.poll(true)?;
        }
        let mut state = self.recorder.state();
        let (ms, step) = (state.now() - begin, state.recording.steps);
        state.recording.plan = self.inner.plan().clone();
        state.recording.runs.push(Run { step, list, begin, ms, spans });
        Ok(())
    }
}

impl Engine for Profiled {
    fn info(&self) -> &AdapterInfo {
        self.inner.info()
    }

    fn plan(&self) -> &Arc<Plan> {
        self.inner.plan()
    }

    fn write(&mut self, view: View, data: &[u8]) -> Result<()> {
        if !self.recorder.state().is_on() {
            return self.inner.write(view, data);
        }
        let begin = self.recorder.state().now();
        self.inner.write(view, data)?;
        let mut state = self.recorder.state();
        let ms = state.now() - begin;
        state.recording.writes.push([begin, ms]);
        Ok(())
    }

    fn run_part(&mut self, list: List, range: Range<usize>) -> Result<()> {
        self.inner.run_part(list, range)
    }

    fn read(&mut self, view: View) -> Result<Read> {
        self.inner.read(view)
    }

    fn poll(&mut self, wait: bool) -> Result<()> {
        self.inner.poll(wait)
    }

    fn profile_part(&mut self, list: List, range: Range<usize>) -> Result<Option<Vec<Span>>> {
        self.inner.profile_part(list, range)
    }

    fn run(&mut self, list: List) -> Result<()> {
        // An evaluation between two steps belongs to neither.
        let is_on = list != List::Evaluate && self.recorder.state().is_on();
        if is_on {
            self.record(list)?
        } else {
            self.inner.run(list)?
        }
        self.recorder.state().end(list);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Target;
    use crate::kernels::add;
    use crate::plan::{Elem, Role};

    /// y += x at every step: what is recorded runs once, and nothing before or after it is recorded.
    #[test]
    fn steps_are_recorded_and_run_once() {
        let mut plan = Plan::default();
        let [x, y, z] = ["x", "y", "z"].map(|name| plan.buffer(name, &[4], Elem::F32, Role::State));
        let sum = |a, b, c| add::dispatch("sum", a, b, c).expect("equal sizes");
        plan.push(List::Forward, sum(x, y, z));
        plan.push(List::Update, sum(x, z, y));
        plan.push(List::Evaluate, sum(x, y, z));
        let inner = Target::host().load(Arc::new(plan)).expect("it fits");
        let recorder = Recorder::default();
        let mut engine = Profiled::new(inner, recorder.clone());
        recorder.begin(2, 3);
        engine.write(x, bytemuck::cast_slice(&[1f32; 4])).expect("it runs");
        for step in 1..=7 {
            [List::Forward, List::Update, List::Evaluate]
                .iter()
                .for_each(|&list| engine.run(list).expect("it runs"));
            assert_eq!(engine.fetch_f32(y).expect("it runs"), [2.0 * step as f32; 4]);
            let early = recorder.clone();
            assert_eq!(step >= 5, early.state().left == 0);
        }
        let recording = recorder.take(false).expect("all steps were recorded");
        assert_eq!((recording.steps, recording.runs.len(), recording.writes.len()), (3, 6, 0));
        assert_eq!(recording.runs.iter().map(|run| run.step).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
        assert!(recording.runs.iter().all(|run| run.spans.as_ref().is_some_and(|spans| spans.len() == 1)));
        assert!(recording.runs.is_sorted_by_key(|run| run.begin));
        assert!(recorder.take(true).is_none(), "taken");
    }

    #[test]
    fn what_there_is_can_be_had() {
        let mut plan = Plan::default();
        plan.buffer("x", &[4], Elem::F32, Role::State);
        let inner = Target::host().load(Arc::new(plan)).expect("it fits");
        let recorder = Recorder::default();
        let mut engine = Profiled::new(inner, recorder.clone());
        recorder.begin(0, 3);
        assert!(recorder.take(true).is_none());
        engine.run(List::Update).expect("it runs");
        assert!(recorder.take(false).is_none());
        assert_eq!(recorder.take(true).expect("a step").steps, 1);
        engine.run(List::Update).expect("it runs");
        assert!(recorder.take(true).is_none(), "no step after it was taken is recorded");
    }
}
