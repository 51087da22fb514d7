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

/// A shader: a kernel's stem and variant.
pub(crate) type Key = (&'static str, &'static str);

/// The pipelines compiled so far.
pub(crate) struct Pipelines {
    cache: HashMap<Key, Pipeline>,
    /// Shaders that stand in for the kernels' own, by stem.
    replaced: HashMap<String, String>,
}

impl Pipelines {
    pub fn new(replaced: HashMap<String, String>) -> Self {
        Pipelines { cache: HashMap::new(), replaced }
    }

    /// Compiles the shaders of `keys` that are not there yet, in parallel.
    pub fn compile(&mut self, device: &Device, keys: impl IntoIterator<Item = Key>) {
        use rayon::prelude::*;
        let mut missing: Vec<_> = keys.into_iter().filter(|key| !self.cache.contains_key(key)).collect();
        missing.sort_unstable();
        missing.dedup();
        let compile = |(stem, variant)| {
            let kernel = kernels::get(stem);
            let variant = kernel.variant(variant).expect("dispatches name variants of their kernel");
            let source = self.replaced.get(stem).map_or(variant.source, String::as_str);
            ((stem, variant.name), compile(device, kernel, &variant.text_of(source)))
        };
        let compiled: Vec<_> = missing.into_par_iter().map(compile).collect();
        self.cache.extend(compiled);
    }

    pub fn get(&self, key: Key) -> &Pipeline {
        self.cache.get(&key).expect("all of a plan's kernels are compiled when it is loaded")
    }
}

/// Bytes of a kernel's uniform: its parameters, rounded up to 16.
pub(crate) fn uniform_bytes(kernel: &Kernel) -> u64 {
    (kernel.params.len() as u64 * 4).next_multiple_of(16)
}

fn compile(device: &Device, kernel: &Kernel, text: &str) -> Pipeline {
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
        source: wgpu::ShaderSource::Wgsl(text.into()),
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
