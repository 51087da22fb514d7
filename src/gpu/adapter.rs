//! Adapters: what there is, in which order, and which one is meant.

use crate::error::{Error, Result};
use crate::plan::{AdapterKind, Capabilities};

/// An adapter in words.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AdapterInfo {
    pub name: String,
    pub kind: AdapterKind,
    pub backend: String,
    pub driver: String,
    /// How many that are called the same come before it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nth: usize,
}

fn is_zero(nth: &usize) -> bool {
    *nth == 0
}

impl AdapterInfo {
    /// Of name, kind, backend and driver: what is kept for one adapter is of no use for another, or for another driver.
    pub fn hash(&self) -> u32 {
        crc32fast::hash(self.to_string().as_bytes())
    }

    /// What to say where a run that began on `then` goes on here and may compute other last digits: another adapter, or another
    /// driver of the same. However many threads the host engine has, it computes the same.
    pub fn differs_from(&self, then: &AdapterInfo) -> Option<String> {
        let driver = self.kind != AdapterKind::Host && self.driver != then.driver;
        let then = match (self.name != then.name, driver) {
            (true, _) => then.name.clone(),
            (false, true) => format!("{} with {}", then.name, then.driver),
            (false, false) => return None,
        };
        Some(format!("this run began on {then}; on {self} its results may differ in the last digits"))
    }

    /// The host engine as an adapter, with the CPU twins or their fast forms.
    pub fn host(twins: bool) -> Self {
        let form = if twins { "CPU twins" } else { "CPU kernels" };
        AdapterInfo {
            name: "host".into(),
            kind: AdapterKind::Host,
            backend: "cpu".into(),
            driver: format!("{form}, {} threads", rayon::current_num_threads()),
            nth: 0,
        }
    }
}

impl std::fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let AdapterInfo { name, kind, backend, driver, .. } = self;
        write!(f, "{name} ({backend}, {}, {driver})", format!("{kind:?}").to_lowercase())
    }
}

/// An adapter that wgpu can open.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub info: AdapterInfo,
    pub(crate) inner: wgpu::Adapter,
}

impl Adapter {
    /// The largest storage binding that the adapter can give, in bytes.
    pub fn max_binding(&self) -> u64 {
        let limits = self.inner.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
    }

    /// What plans for this adapter may use.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: self.info.kind,
            max_binding: self.max_binding(),
            subgroups: self.inner.features().contains(wgpu::Features::SUBGROUP)
                && self.inner.get_info().subgroup_min_size >= 8,
        }
    }

    /// Whether shaders are worth a compilation for each set of parameters, with these as constants. It takes software adapters seconds
    /// a shader, and up to a minute where FXC compiles for DX12, which keeps nothing between runs. With DXC, which is quick, wgpu has
    /// subgroups there.
    pub(crate) fn specializes(&self) -> bool {
        let by_fxc = self.info.backend == "dx12" && !self.inner.features().contains(wgpu::Features::SUBGROUP);
        self.info.kind != AdapterKind::Software && !by_fxc
    }

    /// Whether dispatches can be timed.
    pub fn has_timestamps(&self) -> bool {
        self.inner.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }
}

/// All adapters, best kind first. Backends are Vulkan, Metal and DX12, or those that `WGPU_BACKEND` names.
///
/// # Errors
/// [`Error::Adapter`] where that names none.
pub fn all() -> Result<Vec<Adapter>> {
    let preferred = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let named = std::env::var("WGPU_BACKEND").ok().filter(|named| !named.trim().is_empty());
    let backends = named.as_deref().map_or(preferred, wgpu::Backends::from_comma_list);
    if let (Some(named), true) = (named, backends.is_empty()) {
        return Err(Error::Adapter {
            problem: format!("WGPU_BACKEND is `{named}`, which names no backend"),
            remedy: "Set it to vulkan, metal, dx12 or gl, or not at all".into(),
        });
    }
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters: Vec<Adapter> =
        pollster::block_on(instance.enumerate_adapters(backends)).into_iter().map(describe).collect();
    adapters.sort_by_key(|a| a.info.kind);
    for i in 0..adapters.len() {
        let equal = |other: &&Adapter| AdapterInfo { nth: 0, ..other.info.clone() } == adapters[i].info;
        adapters[i].info.nth = adapters[..i].iter().filter(equal).count();
    }
    Ok(adapters)
}

fn describe(inner: wgpu::Adapter) -> Adapter {
    let info = inner.get_info();
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        wgpu::DeviceType::Other => AdapterKind::Other,
    };
    let driver = format!("{} {}", info.driver, info.driver_info).trim().to_string();
    let backend = info.backend.to_str().to_string();
    Adapter { info: AdapterInfo { name: info.name, kind, backend, driver, nth: 0 }, inner }
}

/// What `--adapter` chose.
#[derive(Clone, Debug)]
pub enum Choice {
    Host,
    Gpu(Box<Adapter>),
}

/// The adapter that `wanted` names: `host`, an index of [`all`], or a part of a name in any case. Without it
/// `WGPU_ADAPTER_NAME` counts, then the best kind of GPU, then the host: cores run their own kernels faster than a
/// software adapter's.
pub fn choose(wanted: Option<&str>) -> Result<Choice> {
    match wanted {
        Some(name) if name.eq_ignore_ascii_case("host") => Ok(Choice::Host),
        _ => choose_among(all()?, wanted),
    }
}

/// The adapter that `before` was: the same in everything, else one of its name, else one whose name holds its own.
///
/// # Errors
/// [`Error::Adapter`] where there is none.
pub fn again(before: &AdapterInfo) -> Result<Choice> {
    if before.kind == AdapterKind::Host {
        return Ok(Choice::Host);
    }
    let mut adapters = all()?;
    let infos: Vec<&AdapterInfo> = adapters.iter().map(|adapter| &adapter.info).collect();
    match nearest(&infos, before) {
        Some(at) => Ok(Choice::Gpu(Box::new(adapters.swap_remove(at)))),
        None => choose_among(adapters, Some(&before.name)),
    }
}

/// The place of `before` among `infos`, or of one of its name.
fn nearest(infos: &[&AdapterInfo], before: &AdapterInfo) -> Option<usize> {
    let with = |same: &dyn Fn(&AdapterInfo) -> bool| infos.iter().position(|info| same(info));
    // A driver may have been updated since.
    let like = |info: &AdapterInfo| info.name == before.name && info.backend == before.backend;
    with(&|info| info == before)
        .or_else(|| with(&|info| like(info) && info.nth == before.nth))
        .or_else(|| with(&|info| info.name == before.name))
}

/// [`choose`] among adapters that [`all`] gave.
pub fn choose_among(adapters: Vec<Adapter>, wanted: Option<&str>) -> Result<Choice> {
    let from_env = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
    if wanted.is_some_and(|wanted| wanted.trim().is_empty()) {
        return Err(Error::setting("--adapter", "empty", "an adapter's name, its index, or host"));
    }
    let wanted = wanted.map(str::to_string).or(from_env);
    if wanted.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("host")) {
        return Ok(Choice::Host);
    }
    let names = adapters.iter().map(|a| a.info.name.clone()).chain(["host".into()]).collect::<Vec<_>>();
    let Some(wanted) = wanted else {
        let best = adapters.into_iter().next().filter(|a| a.info.kind < AdapterKind::Software);
        return Ok(best.map_or(Choice::Host, |adapter| Choice::Gpu(Box::new(adapter))));
    };
    let found = match wanted.parse::<usize>() {
        Ok(index) => adapters.into_iter().nth(index),
        Err(_) => {
            let lower = wanted.to_lowercase();
            adapters.into_iter().find(|a| a.info.name.to_lowercase().contains(&lower))
        }
    };
    found.map(|adapter| Choice::Gpu(Box::new(adapter))).ok_or_else(|| Error::Adapter {
        problem: format!("no adapter matches `{wanted}`"),
        remedy: format!("Choose one of: {} (`shiftnet devices` lists them)", names.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_where_it_began() {
        let info = |name: &str, backend: &str, driver: &str, nth| AdapterInfo {
            name: name.into(),
            kind: AdapterKind::Discrete,
            backend: backend.into(),
            driver: driver.into(),
            nth,
        };
        let all = [
            info("RTX 3080 Ti", "vulkan", "570", 0),
            info("RTX 3080", "dx12", "570", 0),
            info("RTX 3080", "vulkan", "570", 0),
            info("RTX 3080", "vulkan", "570", 1),
        ];
        let all: Vec<&AdapterInfo> = all.iter().collect();
        for at in 0..all.len() {
            assert_eq!(nearest(&all, all[at]), Some(at));
        }
        // After an update of the driver; on another backend; on another machine.
        assert_eq!(nearest(&all, &info("RTX 3080", "vulkan", "560", 1)), Some(3));
        assert_eq!(nearest(&all, &info("RTX 3080", "metal", "570", 0)), Some(1));
        assert_eq!(nearest(&all, &info("RTX 308", "vulkan", "570", 0)), None);
    }

    #[test]
    fn another_adapter_or_driver_is_told() {
        let info = |name: &str, driver: &str, kind| AdapterInfo {
            name: name.into(),
            kind,
            backend: "vulkan".into(),
            driver: driver.into(),
            nth: 0,
        };
        let gpu = |name, driver| info(name, driver, AdapterKind::Discrete);
        assert_eq!(gpu("RTX", "570").differs_from(&gpu("RTX", "570")), None);
        let said = gpu("RTX", "570").differs_from(&gpu("RTX", "560")).expect("another driver");
        assert!(said.contains("began on RTX with 560;"), "{said}");
        let said = gpu("RTX", "570").differs_from(&gpu("Arc", "570")).expect("another adapter");
        assert!(said.contains("began on Arc;"), "{said}");
        let host = |threads| info("host", threads, AdapterKind::Host);
        assert_eq!(host("2 threads").differs_from(&host("16 threads")), None);
    }
}
