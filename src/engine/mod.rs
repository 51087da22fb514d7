//! The engines: two executors of one plan behind one trait.

pub mod autotune;
mod check;
pub mod gpu;
pub mod host;
pub mod profiled;

use crate::error::{Error, Result};
use crate::gpu::adapter::{self, Choice};
use crate::gpu::kernel::Shaders;
use crate::gpu::{AdapterInfo, ceilings};
use crate::kernels::choose::Choices;
use crate::plan::{AdapterKind, Capabilities, List, Plan, View};
use futures::channel::oneshot;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use crate::gpu::device::Limits;
pub use host::Form;

/// How long an adapter works before its times count: a GPU raises its clock rate only under load.
pub(crate) const WARM_UP: Duration = Duration::from_millis(50);

/// Executes a plan. Calls return without waiting for the device; errors of earlier calls come back
/// from later ones: [`Error::Gpu`] of any call may be of what an earlier one submitted.
pub trait Engine: Send {
    /// What runs.
    fn info(&self) -> &AdapterInfo;

    /// What it executes.
    fn plan(&self) -> &Arc<Plan>;

    /// Copies `data` (4 bytes an element, at most those of `view`) to the beginning of `view`, before the next run.
    ///
    /// # Errors
    /// [`Error::Usage`] where the plan has no such view, or `data` are no whole elements or too many; [`Error::Gpu`].
    fn write(&mut self, view: View, data: &[u8]) -> Result<()>;

    /// Runs dispatches `range` of `list` in order.
    ///
    /// # Errors
    /// [`Error::Usage`] where the list has no such part; [`Error::Gpu`].
    fn run_part(&mut self, list: List, range: Range<usize>) -> Result<()>;

    /// Begins to read `view` as it is after the runs so far.
    ///
    /// # Errors
    /// [`Error::Usage`] where the plan has no such view; [`Error::Gpu`].
    fn read(&mut self, view: View) -> Result<Read>;

    /// Lets reads finish; with `wait`, blocks until all that was submitted has run.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    fn poll(&mut self, wait: bool) -> Result<()>;

    /// Runs dispatches `range` of `list` in order and waits for them: when each ran. `None`, with nothing run,
    /// where the adapter has no clock for it.
    ///
    /// # Errors
    /// As [`Engine::run_part`].
    fn profile_part(&mut self, list: List, range: Range<usize>) -> Result<Option<Vec<Span>>>;

    /// [`Engine::profile_part`] of all of `list`.
    ///
    /// # Errors
    /// As [`Engine::profile_part`].
    fn profile(&mut self, list: List) -> Result<Option<Vec<Span>>> {
        let len = self.plan().list(list).len();
        self.profile_part(list, 0..len)
    }

    /// Runs all of `list`.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    fn run(&mut self, list: List) -> Result<()> {
        let len = self.plan().list(list).len();
        self.run_part(list, 0..len)
    }

    /// Reads `view` and waits for it.
    ///
    /// # Errors
    /// As [`Engine::read`].
    fn fetch(&mut self, view: View) -> Result<Vec<u8>> {
        let read = self.read(view)?;
        self.poll(true)?;
        read.finish()
    }

    /// Reads `view` as f32 and waits for it.
    ///
    /// # Errors
    /// As [`Engine::read`].
    fn fetch_f32(&mut self, view: View) -> Result<Vec<f32>> {
        Ok(bytemuck::pod_collect_to_vec(&self.fetch(view)?))
    }
}

/// When a dispatch ran, in milliseconds: its begin, after that of the first dispatch profiled with it, and its
/// duration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub begin: f64,
    pub ms: f64,
}

/// A read under way.
pub struct Read(oneshot::Receiver<Result<Vec<u8>>>);

impl Read {
    pub(crate) fn new() -> (oneshot::Sender<Result<Vec<u8>>>, Read) {
        let (sender, receiver) = oneshot::channel();
        (sender, Read(receiver))
    }

    /// The bytes, once they are there.
    ///
    /// # Errors
    /// What the adapter reported; [`Error::Gpu`] where the engine is gone.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>> {
        match self.0.try_recv() {
            Ok(Some(bytes)) => bytes.map(Some),
            Ok(None) => Ok(None),
            Err(_) => Err(Error::Gpu("a read was dropped before it finished".into())),
        }
    }

    /// The bytes, which are there after an [`Engine::poll`] that waited.
    ///
    /// # Errors
    /// What the adapter reported; [`Error::Gpu`] where they are not there.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.take()?.ok_or_else(|| Error::Gpu("a read did not finish".into()))
    }
}

/// An adapter that was chosen but not opened: what a plan has to know of it.
#[derive(Clone, Debug)]
pub struct Target {
    choice: Choice,
    form: Form,
    limits: Limits,
    shaders: Shaders,
    choices: Choices,
}

impl Target {
    /// The adapter of `--adapter`; see [`adapter::choose`].
    ///
    /// # Errors
    /// As [`adapter::choose`].
    pub fn choose(wanted: Option<&str>) -> Result<Target> {
        Ok(Target::of(adapter::choose(wanted)?))
    }

    /// The adapter that `before` was; see [`adapter::again`].
    ///
    /// # Errors
    /// As [`adapter::again`].
    pub fn again(before: &AdapterInfo) -> Result<Target> {
        Ok(Target::of(adapter::again(before)?))
    }

    /// The host engine.
    pub fn host() -> Target {
        Target::of(Choice::Host)
    }

    /// The host engine with the CPU twins: slow, the oracle.
    pub fn twins() -> Target {
        Target { form: Form::Twin, ..Target::host() }
    }

    fn of(choice: Choice) -> Target {
        Target {
            choice,
            form: Form::Fast,
            limits: Limits::default(),
            shaders: Shaders::default(),
            choices: Choices::default(),
        }
    }

    /// Runs `source` in place of a shader, that of kernel `stem` or of `stem/variant` where it has several: to try a change, or
    /// to see a test fail. A plan that runs it panics where it imports what there is not.
    pub fn with_shader(mut self, shader: &str, source: String) -> Target {
        self.shaders.replaced.insert(shader.into(), source);
        self
    }

    /// Shaders with (or without) checks of indices, divisors and loops, which the default leaves out.
    pub fn checked(mut self, checked: bool) -> Target {
        self.shaders.checked = checked;
        self
    }

    /// Whether shaders have these checks.
    pub fn is_checked(&self) -> bool {
        self.shaders.checked
    }

    /// Whether shaders that can have their parameters as constants have them; the default depends on the adapter.
    pub fn specialized(mut self, specialized: bool) -> Target {
        self.shaders.specialize = Some(specialized);
        self
    }

    /// What decides on the kernels' variants before the rule does, in plans that are made for this target.
    pub fn with_choices(self, choices: Choices) -> Target {
        Target { choices, ..self }
    }

    /// What decides on the kernels' variants in plans for this target.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// Which limits the adapter is opened with: those that it needs, or WebGPU's defaults.
    pub fn with_limits(self, limits: Limits) -> Target {
        Target { limits, ..self }
    }

    /// The adapter in words.
    pub fn info(&self) -> AdapterInfo {
        match &self.choice {
            Choice::Host => AdapterInfo::host(self.form == Form::Twin),
            Choice::Gpu(adapter) => adapter.info.clone(),
        }
    }

    /// What plans for this adapter may use.
    pub fn capabilities(&self) -> Capabilities {
        match (&self.choice, self.limits) {
            (Choice::Host, _) => Capabilities {
                kind: AdapterKind::Host,
                // Kernels count elements in 32 bits.
                max_binding: u64::from(u32::MAX) * 4,
                subgroups: false,
            },
            (Choice::Gpu(adapter), Limits::Needed) => adapter.capabilities(),
            (Choice::Gpu(adapter), Limits::Defaults) => {
                Capabilities { kind: adapter.info.kind, max_binding: 128 << 20, subgroups: false }
            }
        }
    }

    /// The largest binding, in bytes.
    pub fn max_binding(&self) -> u64 {
        self.capabilities().max_binding
    }

    /// The measured ceilings of a GPU; `None` for the host engine.
    ///
    /// # Errors
    /// As [`ceilings::measure`].
    pub fn rates(&self) -> Result<Option<ceilings::Rates>> {
        match &self.choice {
            Choice::Host => Ok(None),
            Choice::Gpu(adapter) => ceilings::measure(adapter).map(Some),
        }
    }

    /// Opens the adapter and loads `plan` onto it.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where a buffer does not fit, [`Error::Adapter`], [`Error::Gpu`].
    pub fn load(&self, plan: Arc<Plan>) -> Result<Box<dyn Engine>> {
        plan.check_limit(self.max_binding(), &self.info().name)?;
        match &self.choice {
            Choice::Host => Ok(Box::new(host::HostEngine::new(plan, self.form)?)),
            Choice::Gpu(adapter) => {
                let device = crate::gpu::Device::open(adapter, plan.largest_buffer(), self.limits)?;
                tracing::info!("{} is open", adapter.info.name);
                Ok(Box::new(gpu::GpuEngine::new(device, plan, self.shaders.clone())?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_without_its_bytes_is_an_error() {
        let (sender, read) = Read::new();
        assert!(read.finish().is_err(), "still under way");
        drop(sender);
        let (sender, read) = Read::new();
        drop(sender);
        assert!(read.finish().is_err(), "dropped");
        let (sender, read) = Read::new();
        sender.send(Ok(vec![1, 2])).expect("the receiver is alive");
        assert_eq!(read.finish().expect("it is there"), [1, 2]);
    }
}
