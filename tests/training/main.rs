//! Training through the library, on the adapter and on the host engine.

#[path = "../support/mod.rs"]
mod support;

mod accumulate;
mod crops;
mod deploy;
mod dispatches;
mod methods;
mod parity;
mod runs;
mod torchvision;
