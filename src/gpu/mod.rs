//! Everything that names wgpu, but for the engine that executes plans on it.

pub mod adapter;
pub mod device;
pub mod kernel;
pub mod profile;

pub use adapter::{Adapter, AdapterInfo, AdapterKind};
pub use device::Device;
