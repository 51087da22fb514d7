//! Everything that names wgpu, but for the engine that executes plans on it.

pub mod adapter;
pub mod ceilings;
pub mod device;
pub mod kernel;
pub mod profile;

pub use crate::plan::AdapterKind;
pub use adapter::{Adapter, AdapterInfo};
pub use device::Device;
