//! What an adapter reaches at most: rates of loops that do one thing, `shaders/ceilings/*.wgsl`.

use super::adapter::Adapter;
use super::device::{Device, Limits};
use crate::error::Result;
use crate::plan::AdapterKind;
use std::time::Instant;

/// The best rates of a few samples each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Bytes read and written a second, in GB.
    pub copy: f64,
    /// f32 multiply-adds a second times 2, in GFLOP.
    pub fma_f32: f64,
    /// The same in f16, where the adapter has it.
    pub fma_f16: Option<f64>,
    /// Multiply-adds of 8-bit integers a second times 2, in GOP.
    pub dot4i8: f64,
}

/// A sample lasts about this many seconds: long against the wait for its end, short enough for every driver.
const SAMPLE: f64 = 0.04;
const SAMPLES: usize = 5;

/// Bytes of each of the two buffers of a copy, at most: together larger than any cache.
const COPY: u64 = 256 << 20;

const FMA: &str = include_str!("../../shaders/ceilings/fma.wgsl");
const DOT4: &str = include_str!("../../shaders/ceilings/dot4.wgsl");
const COPY_SHADER: &str = include_str!("../../shaders/ceilings/copy.wgsl");

/// Two ways to write a multiply-add: compilers differ in which becomes one instruction.
const FORMS: [&str; 2] = ["fma(a, m, k)", "a * m + k"];

/// Links of a chain a round, times independent numbers, in `fma.wgsl` and in `dot4.wgsl`.
const FMA_A_ROUND: f64 = (4 * 2 * 4) as f64;
const DOTS_A_ROUND: f64 = (2 * 8) as f64;

/// Measures `adapter`.
///
/// # Errors
/// [`crate::Error::Adapter`] where it cannot be opened, [`crate::Error::Gpu`] for what it reports.
pub fn measure(adapter: &Adapter) -> Result<Rates> {
    let half = adapter.inner.features().contains(wgpu::Features::SHADER_F16);
    let features = if half { wgpu::Features::SHADER_F16 } else { wgpu::Features::empty() };
    let bytes = COPY.min(adapter.max_binding()) / 1024 * 1024;
    let device = Device::open_with(adapter, bytes, Limits::Needed, features)?;
    let bench = Bench { software: adapter.info.kind == AdapterKind::Software, device };
    let fma_f16 = if half { Some(bench.multiply_adds("f16")?) } else { None };
    Ok(Rates {
        copy: bench.copy(bytes)?,
        fma_f32: bench.multiply_adds("f32")?,
        fma_f16,
        dot4i8: bench.dots()?,
    })
}

/// The text of `fma.wgsl` for a scalar type and a way to write a multiply-add.
fn fma(scalar: &str, form: &str) -> String {
    let enable = if scalar == "f16" { "enable f16;\n" } else { "" };
    format!(
        "{enable}alias S = {scalar};\nalias V = vec4<{scalar}>;\n\
         fn mul_add(a: V, m: V, k: V) -> V {{ return {form}; }}\n{FMA}"
    )
}

struct Bench {
    device: Device,
    software: bool,
}

/// A pipeline with its bindings, and the grid that it runs on.
struct Loop {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    groups: [u32; 2],
}

impl Bench {
    /// Workgroups that fill the adapter many times over, and rounds that make a dispatch last about 1 ms.
    fn size(&self) -> (u32, u32) {
        if self.software { (64, 2048) } else { (8192, 1024) }
    }

    fn multiply_adds(&self, scalar: &str) -> Result<f64> {
        let (groups, rounds) = self.size();
        let mut best = 0.0f64;
        for form in FORMS {
            let params = [rounds, 0.75f32.to_bits(), 0.5f32.to_bits(), 0];
            let run = self.prepare(&fma(scalar, form), params, &[u64::from(groups) * 64 * 4], [groups, 1])?;
            let operations = f64::from(groups) * 64.0 * f64::from(rounds) * FMA_A_ROUND * 2.0;
            best = best.max(operations / self.fastest(|encoder, count| run.encode(encoder, count))? / 1e9);
        }
        Ok(best)
    }

    fn dots(&self) -> Result<f64> {
        let (groups, rounds) = self.size();
        let params = [rounds, 0x0301_02ff, 0x1234_5679, 0];
        let run = self.prepare(DOT4, params, &[u64::from(groups) * 64 * 4], [groups, 1])?;
        let operations = f64::from(groups) * 64.0 * f64::from(rounds) * DOTS_A_ROUND * 8.0;
        Ok(operations / self.fastest(|encoder, count| run.encode(encoder, count))? / 1e9)
    }

    /// By a kernel or by the driver's own copy, whichever is faster.
    fn copy(&self, bytes: u64) -> Result<f64> {
        const ROW: u64 = 32_768;
        let groups = bytes / 16 / 64;
        let grid = [groups.min(ROW) as u32, groups.div_ceil(ROW) as u32];
        let run = self.prepare(COPY_SHADER, [grid[0] * 64, 0, 0, 0], &[bytes, bytes], grid)?;
        let buffers = [self.buffer(bytes), self.buffer(bytes)];
        let by_kernel = self.fastest(|encoder, count| run.encode(encoder, count))?;
        let by_driver = self.fastest(|encoder, count| {
            (0..count).for_each(|_| encoder.copy_buffer_to_buffer(&buffers[0], 0, &buffers[1], 0, bytes));
        })?;
        Ok(2.0 * bytes as f64 / by_kernel.min(by_driver) / 1e9)
    }

    fn buffer(&self, size: u64) -> wgpu::Buffer {
        self.device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("ceilings"),
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// A loop with its parameters at binding 0 and buffers of `sizes` bytes at those after it.
    fn prepare(&self, source: &str, params: [u32; 4], sizes: &[u64], groups: [u32; 2]) -> Result<Loop> {
        let device = &self.device.device;
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(source.into()) };
        // SAFETY: these shaders are part of the program; their loops end, and their accesses are in bounds.
        let module = unsafe {
            device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        };
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        self.device.check()?;
        let uniform = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: size_of_val(&params) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.device.queue.write_buffer(&uniform, 0, bytemuck::bytes_of(&params));
        let buffers = std::iter::once(uniform).chain(sizes.iter().map(|&size| self.buffer(size)));
        let buffers: Vec<wgpu::Buffer> = buffers.collect();
        // What a copy reads has been written: memory that never was may all be one page.
        if let Some(from) = buffers.get(2) {
            let ones = vec![1u8; from.size() as usize];
            self.device.queue.write_buffer(from, 0, &ones);
        }
        let entry = |(i, buffer)| {
            let whole = wgpu::BufferBinding { buffer, offset: 0, size: None };
            wgpu::BindGroupEntry { binding: i as u32, resource: wgpu::BindingResource::Buffer(whole) }
        };
        let entries: Vec<_> = buffers.iter().enumerate().map(entry).collect();
        let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        self.device.check()?;
        Ok(Loop { pipeline, bindings, groups })
    }

    /// Seconds of one repetition of what `encode` encodes `count` times: the fastest sample.
    fn fastest(&self, encode: impl Fn(&mut wgpu::CommandEncoder, usize)) -> Result<f64> {
        let time = |count: usize| -> Result<f64> {
            let descriptor = wgpu::CommandEncoderDescriptor::default();
            let mut encoder = self.device.device.create_command_encoder(&descriptor);
            encode(&mut encoder, count);
            let commands = encoder.finish();
            let began = Instant::now();
            let submission = self.device.queue.submit([commands]);
            self.device.wait(Some(submission))?;
            Ok(began.elapsed().as_secs_f64())
        };
        time(1)?;
        let mut count = 1;
        let mut seconds = time(count)?;
        while seconds < SAMPLE && count < 4096 {
            count = (count as f64 * (1.2 * SAMPLE / seconds).clamp(1.5, 8.0)).ceil() as usize;
            seconds = time(count)?;
        }
        let mut best = seconds / count as f64;
        for _ in 1..SAMPLES {
            best = best.min(time(count)? / count as f64);
        }
        Ok(best)
    }
}

impl Loop {
    fn encode(&self, encoder: &mut wgpu::CommandEncoder, count: usize) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        (0..count).for_each(|_| pass.dispatch_workgroups(self.groups[0], self.groups[1], 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::adapter;

    /// No processor is a thousand times faster or slower than these bounds, and no CPU comes near to its own.
    #[test]
    fn rates_are_of_this_world() {
        let adapter = adapter::all()
            .expect("a backend")
            .into_iter()
            .next()
            .expect("the tests need an adapter, a software one at least");
        let rates = measure(&adapter).expect("the adapter runs");
        let within = |rate: f64, [low, high]: [f64; 2]| assert!(low < rate && rate < high, "{rates:?}");
        let [copy, fma, narrow] = match adapter.info.kind {
            AdapterKind::Software => [[0.5, 500.0], [1.0, 5000.0], [0.2, 5000.0]],
            _ => [[0.05, 20_000.0], [0.2, 1e6], [0.05, 1e7]],
        };
        within(rates.copy, copy);
        within(rates.fma_f32, fma);
        within(rates.dot4i8, narrow);
        rates.fma_f16.into_iter().for_each(|rate| within(rate, narrow));
    }

    /// On adapters that nobody has tried yet too.
    #[test]
    fn loops_translate_to_every_backend() {
        use naga::back::{hlsl, msl, spv};
        let fma = ["f32", "f16"].into_iter().flat_map(|scalar| FORMS.map(|form| fma(scalar, form)));
        for text in fma.chain([DOT4, COPY_SHADER].map(String::from)) {
            let module =
                naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
            let flags = naga::valid::ValidationFlags::all();
            let info = naga::valid::Validator::new(flags, naga::valid::Capabilities::SHADER_FLOAT16)
                .validate(&module)
                .unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
            spv::write_vec(&module, &info, &spv::Options::default(), None).expect("SPIR-V");
            let options = msl::Options { lang_version: (2, 1), ..Default::default() };
            msl::write_string(&module, &info, &options, &Default::default()).expect("Metal");
            let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_4, ..Default::default() };
            let (pipeline, mut out) = (hlsl::PipelineOptions::default(), String::new());
            hlsl::Writer::new(&mut out, &options, &pipeline).write(&module, &info, None).expect("HLSL");
        }
    }
}
