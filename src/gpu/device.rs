//! A device: limits raised to what a plan needs, and errors kept until somebody asks.

use super::adapter::{Adapter, AdapterInfo};
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex};

/// Which limits to ask an adapter for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limits {
    /// The defaults, with bindings and buffers raised to what is needed, up to the adapter's limits.
    #[default]
    Needed,
    /// `wgpu::Limits::defaults()`, whatever is needed: what every WebGPU device has.
    Defaults,
}

/// An open device with its queue.
pub struct Device {
    pub info: AdapterInfo,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) timestamps: bool,
    /// As [`Adapter::specializes`].
    pub(crate) specializes: bool,
    failure: Arc<Mutex<Option<String>>>,
}

impl Device {
    /// Opens `adapter` for bindings of up to `largest_binding` bytes.
    ///
    /// # Errors
    /// [`Error::Adapter`] where the device cannot be opened.
    pub fn open(adapter: &Adapter, largest_binding: u64, limits: Limits) -> Result<Device> {
        Device::open_with(adapter, largest_binding, limits, wgpu::Features::empty())
    }

    /// [`Device::open`] with further features that the adapter has.
    pub(crate) fn open_with(
        adapter: &Adapter,
        largest_binding: u64,
        limits: Limits,
        further: wgpu::Features,
    ) -> Result<Device> {
        let mut required = wgpu::Limits::defaults();
        let available = adapter.inner.limits();
        if limits == Limits::Needed {
            let binding = largest_binding.max(required.max_storage_buffer_binding_size);
            required.max_storage_buffer_binding_size = binding.min(available.max_storage_buffer_binding_size);
            required.max_buffer_size =
                largest_binding.max(required.max_buffer_size).min(available.max_buffer_size);
        }
        let timestamps = adapter.has_timestamps();
        let mut features = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::PIPELINE_CACHE;
        if limits == Limits::Needed && adapter.capabilities().subgroups {
            features |= wgpu::Features::SUBGROUP;
        }
        let features = features & adapter.inner.features();
        let (device, queue) = pollster::block_on(adapter.inner.request_device(&wgpu::DeviceDescriptor {
            label: Some("shiftnet"),
            required_features: features | further,
            required_limits: required,
            ..Default::default()
        }))
        .map_err(|e| Error::Adapter {
            problem: format!("{} could not be opened: {e}", adapter.info),
            remedy: "Choose another adapter with --adapter (`shiftnet devices` lists them)".into(),
        })?;
        let failure = Arc::new(Mutex::new(None));
        device.on_uncaptured_error(Arc::new(keep_first(&failure, |e: wgpu::Error| e.to_string())));
        let lost = keep_first(&failure, |(reason, message)| format!("device lost ({reason:?}): {message}"));
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lost((reason, message));
            }
        });
        let (info, specializes) = (adapter.info.clone(), adapter.specializes());
        Ok(Device { info, device, queue, timestamps, specializes, failure })
    }

    /// The first error that the device reported since it was opened, if any. It stays.
    pub fn check(&self) -> Result<()> {
        match &*self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            Some(message) => Err(Error::Gpu(message.clone())),
            None => Ok(()),
        }
    }

    /// Waits until everything submitted so far, or `submission`, has run.
    pub(crate) fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let poll = wgpu::PollType::Wait { submission_index: submission, timeout: None };
        self.device.poll(poll).map_err(|e| Error::Gpu(e.to_string()))?;
        self.check()
    }
}

/// A callback that stores the first thing it is called with.
fn keep_first<T>(
    slot: &Arc<Mutex<Option<String>>>,
    describe: impl Fn(T) -> String + Send + Sync + 'static,
) -> impl Fn(T) + Send + Sync + 'static {
    let slot = slot.clone();
    move |event| {
        // Compilers end their messages with a zero.
        let message = describe(event).replace('\0', "");
        tracing::error!("{message}");
        slot.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(message);
    }
}
