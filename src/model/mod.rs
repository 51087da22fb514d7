//! Networks: layers as data, their parameters, and the plan made of them.

mod backward;
pub mod compile;
pub mod container;
pub mod fuse;
pub mod graph;
pub mod latents;
pub mod params;
pub mod resnet;
pub mod state;
mod torch;
pub mod weights;

pub use compile::{Network, Options};
pub use graph::Graph;
pub use resnet::{Arch, Shortcut};
