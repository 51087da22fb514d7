//! The GPU engine: replays a plan's dispatches through wgpu.

use super::{Engine, Read, Span, check};
use crate::error::{Error, Result};
use crate::gpu::kernel::{Pipelines, Shaders, uniform_bytes};
use crate::gpu::profile::Timer;
use crate::gpu::{AdapterInfo, Device};
use crate::kernels;
use crate::plan::lifetimes::{self, Slots};
use crate::plan::{Dispatch, List, Plan, View};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Arithmetic of one submission, at most, where that is more than one dispatch: on a GPU that reaches 1 TFLOP/s it runs for 20 ms, far from the
/// two seconds after which desktop drivers reset a device.
const FLOPS_A_SUBMISSION: u64 = 20_000_000_000;

/// Submissions that may be under way before a run waits for the oldest.
const IN_FLIGHT: usize = 4;

/// A dispatch ready to be encoded.
struct Prepared {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    groups: [u32; 2],
    flops: u64,
}

/// Executes a plan on a GPU.
pub struct GpuEngine {
    device: Device,
    plan: Arc<Plan>,
    slots: Slots,
    memory: Vec<wgpu::Buffer>,
    lists: [Vec<Prepared>; List::ALL.len()],
    submissions: VecDeque<wgpu::SubmissionIndex>,
}

impl GpuEngine {
    /// Allocates the plan's buffers, compiles its kernels and binds its dispatches.
    ///
    /// # Errors
    /// [`Error::Gpu`]: where there is no room, or a shader does not compile.
    pub fn new(device: Device, plan: Arc<Plan>, shaders: Shaders) -> Result<Self> {
        let slots = lifetimes::assign(&plan);
        let memory: Vec<wgpu::Buffer> =
            (0..slots.sizes.len()).map(|slot| allocate(&device, &plan, &slots, slot)).collect();
        device.check()?;
        let dispatches = List::ALL.iter().flat_map(|&list| plan.list(list));
        let pipelines = Pipelines::compile(&device, shaders, dispatches);
        let mut engine = GpuEngine {
            device,
            plan,
            slots,
            memory,
            lists: Default::default(),
            submissions: VecDeque::new(),
        };
        engine.lists = List::ALL.map(|list| engine.prepare(&pipelines, list));
        engine.device.check()?;
        Ok(engine)
    }

    /// Binds the dispatches of `list`. Their parameters lie in one uniform buffer.
    fn prepare(&self, pipelines: &Pipelines, list: List) -> Vec<Prepared> {
        let dispatches = self.plan.list(list);
        let stride = u64::from(self.device.device.limits().min_uniform_buffer_offset_alignment).max(256);
        let mut bytes = vec![0u8; dispatches.len().max(1) * stride as usize];
        for (chunk, dispatch) in bytes.chunks_mut(stride as usize).zip(dispatches) {
            chunk[..dispatch.params.len()].copy_from_slice(&dispatch.params);
        }
        let uniforms = self.device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: bytes.len() as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.device.queue.write_buffer(&uniforms, 0, &bytes);
        let bind = |(i, dispatch): (usize, &Dispatch)| {
            let pipeline = pipelines.get(dispatch);
            let uniform = wgpu::BufferBinding {
                buffer: &uniforms,
                offset: i as u64 * stride,
                size: wgpu::BufferSize::new(uniform_bytes(kernels::get(dispatch.stem))),
            };
            let storage = dispatch.views.iter().map(|&view| self.binding(view));
            let entries: Vec<_> = std::iter::once(uniform)
                .chain(storage)
                .enumerate()
                .map(|(i, binding)| wgpu::BindGroupEntry {
                    binding: i as u32,
                    resource: wgpu::BindingResource::Buffer(binding),
                })
                .collect();
            let bindings = self.device.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&dispatch.label),
                layout: &pipeline.layout,
                entries: &entries,
            });
            Prepared {
                pipeline: pipeline.pipeline.clone(),
                bindings,
                groups: dispatch.groups,
                flops: dispatch.cost.flops,
            }
        };
        dispatches.iter().enumerate().map(bind).collect()
    }

    fn binding(&self, view: View) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: &self.memory[self.slots.of_buffer[view.buffer.0]],
            offset: view.offset as u64 * 4,
            size: wgpu::BufferSize::new(view.len as u64 * 4),
        }
    }

    /// Submits `encoder`, then waits for the oldest submission where too many are under way.
    fn submit(&mut self, encoder: wgpu::CommandEncoder) -> Result<()> {
        self.submissions.push_back(self.device.queue.submit([encoder.finish()]));
        if self.submissions.len() > IN_FLIGHT {
            let oldest = self.submissions.pop_front();
            self.device.wait(oldest)?;
        }
        self.device.check()
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// Submits dispatches `range` of `list`, each between two timestamps; the last of them are in the encoder
    /// that comes back.
    fn encode_timed(
        &mut self,
        list: List,
        range: Range<usize>,
        timer: &Timer,
    ) -> Result<wgpu::CommandEncoder> {
        let mut encoder = self.encoder();
        let mut flops = 0;
        for (pass, i) in range.enumerate() {
            let next = self.lists[list as usize][i].flops;
            if flops > 0 && flops + next > FLOPS_A_SUBMISSION {
                let full = std::mem::replace(&mut encoder, self.encoder());
                self.submit(full)?;
                flops = 0;
            }
            let prepared = &self.lists[list as usize][i];
            let timestamp_writes = Some(timer.writes(pass));
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
            encode(&mut encoder.begin_compute_pass(&descriptor), prepared);
            flops += prepared.flops;
        }
        timer.resolve(&mut encoder);
        Ok(encoder)
    }

    /// Copies bytes of `buffer` to a buffer that the host can map, and maps it.
    fn download(
        &mut self,
        mut encoder: wgpu::CommandEncoder,
        buffer: &wgpu::Buffer,
        offset: u64,
        size: u64,
    ) -> Result<Read> {
        let staging = self.device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read"),
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, size);
        self.submit(encoder)?;
        let (sender, read) = Read::new();
        let mapped = staging.clone();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            let bytes = result.map_err(|e| Error::Gpu(e.to_string())).and_then(|()| {
                let range = mapped.get_mapped_range(..).map_err(|e| Error::Gpu(e.to_string()))?;
                Ok(range.to_vec())
            });
            mapped.unmap();
            // Nobody may be waiting any more; then the bytes are not needed.
            let _ = sender.send(bytes);
        });
        Ok(read)
    }
}

fn allocate(device: &Device, plan: &Plan, slots: &Slots, slot: usize) -> wgpu::Buffer {
    let name = slots.of_buffer.iter().position(|&s| s == slot).map(|i| plan.buffers[i].name.as_str());
    device.device.create_buffer(&wgpu::BufferDescriptor {
        label: name,
        size: (slots.sizes[slot] as u64 * 4).max(16),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

fn encode(pass: &mut wgpu::ComputePass, prepared: &Prepared) {
    pass.set_pipeline(&prepared.pipeline);
    pass.set_bind_group(0, &prepared.bindings, &[]);
    pass.dispatch_workgroups(prepared.groups[0], prepared.groups[1], 1);
}

impl Engine for GpuEngine {
    fn info(&self) -> &AdapterInfo {
        &self.device.info
    }

    fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn write(&mut self, view: View, data: &[u8]) -> Result<()> {
        check::write(&self.plan, view, data.len())?;
        let buffer = &self.memory[self.slots.of_buffer[view.buffer.0]];
        let offset = view.offset as u64 * 4;
        self.device.queue.write_buffer(buffer, offset, data);
        self.device.check()
    }

    fn run_part(&mut self, list: List, range: Range<usize>) -> Result<()> {
        check::part(&self.plan, list, &range)?;
        let mut next = range.start;
        while next < range.end {
            let mut encoder = self.encoder();
            let mut flops = 0;
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                while next < range.end {
                    let prepared = &self.lists[list as usize][next];
                    if flops > 0 && flops + prepared.flops > FLOPS_A_SUBMISSION {
                        break;
                    }
                    encode(&mut pass, prepared);
                    flops += prepared.flops;
                    next += 1;
                }
            }
            self.submit(encoder)?;
        }
        Ok(())
    }

    fn read(&mut self, view: View) -> Result<Read> {
        check::view(&self.plan, view)?;
        let buffer = self.memory[self.slots.of_buffer[view.buffer.0]].clone();
        let encoder = self.encoder();
        self.download(encoder, &buffer, view.offset as u64 * 4, view.len as u64 * 4)
    }

    fn poll(&mut self, wait: bool) -> Result<()> {
        if wait {
            self.submissions.clear();
            return self.device.wait(None);
        }
        self.device.device.poll(wgpu::PollType::Poll).map_err(|e| Error::Gpu(e.to_string()))?;
        self.device.check()
    }

    fn profile_part(&mut self, list: List, range: Range<usize>) -> Result<Option<Vec<Span>>> {
        check::part(&self.plan, list, &range)?;
        let mut ticks: Vec<u64> = Vec::with_capacity(2 * range.len());
        let mut next = range.start;
        while next < range.end {
            let end = range.end.min(next + Timer::MOST);
            let Some(timer) = Timer::new(&self.device, end - next) else { return Ok(None) };
            let encoder = self.encode_timed(list, next..end, &timer)?;
            let read = self.download(encoder, timer.resolved(), 0, (end - next) as u64 * 16)?;
            self.poll(true)?;
            ticks.extend(bytemuck::pod_collect_to_vec::<u8, u64>(&read.finish()?));
            next = end;
        }
        let times = Timer::milliseconds(&self.device, &ticks);
        let first = times.first().map_or(0.0, |&[begin, _]| begin);
        let span = |[begin, end]: [f64; 2]| Span { begin: begin - first, ms: (end - begin).max(0.0) };
        Ok(Some(times.into_iter().map(span).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::adapter;
    use crate::gpu::device::Limits;
    use crate::kernels::add;

    /// y = x + 0 of 8 elements on the first adapter.
    fn engine(replaced: &[(&str, &str)]) -> Result<GpuEngine> {
        let adapter = adapter::all()
            .expect("a backend")
            .into_iter()
            .next()
            .expect("the tests need an adapter, a software one at least");
        let mut plan = Plan::default();
        let [x, zero, y] = ["x", "zero", "y"]
            .map(|name| plan.buffer(name, &[8], crate::plan::Elem::F32, crate::plan::Role::State));
        plan.push(List::Forward, add::dispatch("add", x, zero, y).expect("equal sizes"));
        let device =
            Device::open(&adapter, plan.largest_buffer(), Limits::Needed).expect("the adapter opens");
        let replaced = replaced.iter().map(|(stem, text)| (stem.to_string(), text.to_string())).collect();
        GpuEngine::new(device, Arc::new(plan), Shaders { replaced, ..Shaders::default() })
    }

    fn whole(plan: &Plan, name: &str) -> View {
        let at = plan.buffers.iter().position(|b| b.name == name).expect("it is in the plan");
        View { buffer: crate::plan::BufferId(at), offset: 0, len: plan.buffers[at].len() }
    }

    #[test]
    fn a_shader_that_does_not_compile_is_an_error_that_names_it() {
        let message =
            engine(&[("add", "fn main() { nonsense }")]).err().expect("it cannot compile").to_string();
        assert!(message.contains("add"), "{message}");
    }

    /// Whatever is called on a lost device comes back as an error, again and again.
    #[test]
    fn a_lost_device_is_an_error_and_not_a_panic() {
        let mut engine = engine(&[]).expect("it compiles");
        let [x, y] = ["x", "y"].map(|name| whole(&engine.plan, name));
        let values: [f32; 8] = [-1.0, 2.0, -3.0, 4.0, 0.0, -0.0, 7.0, -8.0];
        engine.write(x, bytemuck::cast_slice(&values)).expect("the device is there");
        engine.run(List::Forward).expect("the device is there");
        assert_eq!(engine.fetch_f32(y).expect("the device is there"), values);
        engine.device.device.destroy();
        for _ in 0..2 {
            assert!(engine.run(List::Forward).and_then(|()| engine.fetch(y)).is_err());
        }
    }

    #[test]
    fn dispatches_are_timed_where_the_adapter_has_a_clock() {
        let mut engine = engine(&[]).expect("it compiles");
        let times = engine.profile(List::Forward).expect("it runs");
        assert_eq!(times.is_some(), engine.device.timestamps);
        assert!(
            times.is_none_or(|t| t.len() == 1 && t[0].begin == 0.0 && t[0].ms > 0.0 && t[0].ms < 60_000.0)
        );
    }
}
