//! WGSL to compute pipelines, compiled once a kernel.

use super::device::Device;
use crate::cache;
use crate::kernels::{self, Access, Kernel, Variant};
use crate::plan::Dispatch;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::path::PathBuf;

/// A kernel's pipeline and the layout of its bindings.
#[derive(Clone)]
pub(crate) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// How shaders are compiled.
#[derive(Clone, Debug, Default)]
pub struct Shaders {
    /// Texts that stand in for shaders, by `stem` of a kernel with one, else by `stem/variant`. They are compiled with checks.
    pub replaced: HashMap<String, String>,
    /// With checks of indices, divisors and loops. The kernels pass them in the tests, so that by default they do without.
    pub checked: bool,
    /// Whether variants that can have their parameters as constants have them; where this does not say, they do where it is worth
    /// the compilation.
    pub specialize: Option<bool>,
}

impl Shaders {
    /// The pipeline that `dispatch` needs on a device that `specializes` or does not.
    fn key(&self, dispatch: &Dispatch, specializes: bool) -> Key {
        let specialize = self.specialize.unwrap_or(specializes);
        let specialized = specialize && variant(dispatch.stem, dispatch.variant).specialized;
        let params = specialized.then(|| dispatch.params.clone());
        Key { stem: dispatch.stem, variant: dispatch.variant, params }
    }
}

fn variant(stem: &str, name: &str) -> &'static Variant {
    kernels::get(stem).variant(name).expect("dispatches name variants of their kernel")
}

/// All that a pipeline's text depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    stem: &'static str,
    variant: &'static str,
    /// Where they are constants.
    params: Option<Vec<u8>>,
}

/// The pipelines of a plan.
pub(crate) struct Pipelines {
    compiled: BTreeMap<Key, Pipeline>,
    shaders: Shaders,
    specializes: bool,
}

impl Pipelines {
    /// Compiles the shaders of `dispatches`, in parallel, with what the adapter kept of earlier times.
    pub fn compile<'a>(
        device: &Device,
        shaders: Shaders,
        dispatches: impl Iterator<Item = &'a Dispatch>,
    ) -> Pipelines {
        use rayon::prelude::*;
        let specializes = device.specializes;
        let mut keys: Vec<Key> = dispatches.map(|dispatch| shaders.key(dispatch, specializes)).collect();
        keys.sort_unstable();
        keys.dedup();
        let kept = Kept::open(device);
        let cache = kept.as_ref().map(|kept| &kept.cache);
        let compiled: Vec<_> =
            keys.into_par_iter().map(|key| (key.clone(), compile(device, &shaders, &key, cache))).collect();
        if let Some(kept) = kept {
            kept.close();
        }
        tracing::info!("{} pipelines are compiled", compiled.len());
        Pipelines { compiled: compiled.into_iter().collect(), shaders, specializes }
    }

    pub fn get(&self, dispatch: &Dispatch) -> &Pipeline {
        let key = self.shaders.key(dispatch, self.specializes);
        self.compiled.get(&key).expect("all of a plan's kernels are compiled when it is loaded")
    }
}

/// What a driver keeps of its compilations between runs: a checksum and its data.
struct Kept {
    cache: wgpu::PipelineCache,
    directory: PathBuf,
    file: String,
    before: Option<Vec<u8>>,
}

impl Kept {
    /// None where the adapter or the system has no place for it.
    fn open(device: &Device) -> Option<Kept> {
        if !device.device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let directory = cache::directory()?;
        let file = format!("pipelines-{:08x}.bin", device.info.hash());
        let before = cache::read(&directory, &file).and_then(whole);
        // SAFETY: by name and checksum the data is what an earlier `get_data` gave for this adapter and driver; wgpu's
        // own header says whether it still is.
        let cache = unsafe {
            device.device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
                label: Some("shiftnet"),
                data: before.as_deref(),
                fallback: true,
            })
        };
        Some(Kept { cache, directory, file, before })
    }

    fn close(self) {
        let Some(data) = self.cache.get_data() else { return };
        if self.before.as_ref() != Some(&data) {
            let bytes = [&crc32fast::hash(&data).to_le_bytes()[..], &data].concat();
            cache::write(&self.directory, &self.file, &bytes);
        }
    }
}

/// The data of a file that begins with its checksum; none where that is wrong.
fn whole(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let data = bytes.split_off(bytes.len().min(4));
    (bytes == crc32fast::hash(&data).to_le_bytes()).then_some(data)
}

/// Bytes of a kernel's uniform: its parameters, rounded up to 16.
pub(crate) fn uniform_bytes(kernel: &Kernel) -> u64 {
    (kernel.params.len() as u64 * 4).next_multiple_of(16)
}

fn compile(device: &Device, shaders: &Shaders, key: &Key, cache: Option<&wgpu::PipelineCache>) -> Pipeline {
    let (kernel, variant) = (kernels::get(key.stem), variant(key.stem, key.variant));
    let name = [key.stem, key.variant].join("/");
    let replaced = shaders.replaced.get(name.trim_end_matches('/'));
    let mut text = variant.text_of(replaced.map_or(variant.source, String::as_str));
    if let Some(params) = &key.params {
        text = kernels::source::specialize(&text, params);
    }
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
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(kernel.stem),
        source: wgpu::ShaderSource::Wgsl(text.into()),
    };
    let module = if shaders.checked || replaced.is_some() {
        device.device.create_shader_module(descriptor)
    } else {
        // SAFETY: the text is this program's own. The tests run every variant with checks: with those it computes the same,
        // so that no index is out of bounds, and no divisor 0; and its loops count up to bounds that are parameters.
        unsafe {
            device.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        }
    };
    let pipeline = device.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(kernel.stem),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache,
    });
    Pipeline { pipeline, layout }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_data_is_used_only_whole() {
        let data = b"pipelines".to_vec();
        let file = [&crc32fast::hash(&data).to_le_bytes()[..], &data].concat();
        assert_eq!(whole(file.clone()), Some(data));
        for i in 0..file.len() {
            assert_eq!(whole(file[..i].to_vec()), None);
            let mut flipped = file.clone();
            flipped[i] ^= 4;
            assert_eq!(whole(flipped), None);
        }
    }
}
