//! WGSL to compute pipelines, compiled once a kernel.

use super::device::Device;
use crate::kernels::{self, Access, Kernel};
use std::collections::HashMap;
use std::num::NonZeroU64;

/// A kernel's pipeline and the layout of its bindings.
#[derive(Clone)]
pub(crate) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// The pipelines compiled so far, by stem.
pub(crate) struct Pipelines {
    cache: HashMap<&'static str, Pipeline>,
    /// Shaders that stand in for the kernels' own, by stem.
    replaced: HashMap<String, String>,
}

impl Pipelines {
    pub fn new(replaced: HashMap<String, String>) -> Self {
        Pipelines { cache: HashMap::new(), replaced }
    }

    /// Compiles the kernels of `stems` that are not there yet, in parallel.
    pub fn compile(&mut self, device: &Device, stems: impl IntoIterator<Item = &'static str>) {
        use rayon::prelude::*;
        let mut missing: Vec<_> = stems.into_iter().filter(|stem| !self.cache.contains_key(stem)).collect();
        missing.sort_unstable();
        missing.dedup();
        let compile = |stem| {
            let kernel = kernels::get(stem);
            let source = self.replaced.get(stem).map_or(kernel.source, String::as_str);
            (stem, compile(device, kernel, source))
        };
        let compiled: Vec<_> = missing.into_par_iter().map(compile).collect();
        self.cache.extend(compiled);
    }

    pub fn get(&self, stem: &str) -> &Pipeline {
        self.cache.get(stem).expect("all of a plan's kernels are compiled when it is loaded")
    }
}

/// Bytes of a kernel's uniform: its parameters, rounded up to 16.
pub(crate) fn uniform_bytes(kernel: &Kernel) -> u64 {
    (kernel.params.len() as u64 * 4).next_multiple_of(16)
}

fn compile(device: &Device, kernel: &Kernel, source: &str) -> Pipeline {
    let entry = |binding: u32, ty, min: Option<u64>| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: min.and_then(NonZeroU64::new),
        },
        count: None,
    };
    let uniform = entry(0, wgpu::BufferBindingType::Uniform, Some(uniform_bytes(kernel)));
    let storage = kernel.bindings.iter().enumerate().map(|(i, binding)| {
        let read_only = binding.access == Access::Read;
        entry(i as u32 + 1, wgpu::BufferBindingType::Storage { read_only }, None)
    });
    let entries: Vec<_> = std::iter::once(uniform).chain(storage).collect();
    let layout = device.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(kernel.stem),
        entries: &entries,
    });
    let pipeline_layout = device.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(kernel.stem),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let module = device.device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(kernel.stem),
        source: wgpu::ShaderSource::Wgsl(kernels::source::expand(source).into()),
    });
    let pipeline = device.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(kernel.stem),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    });
    Pipeline { pipeline, layout }
}
