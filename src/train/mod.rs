//! Training: settings, the loop as an iterator of events, checkpoints, diagnostics.

pub mod checkpoint;
pub mod diagnostics;
pub mod evaluate;
pub mod events;
pub mod flags;
pub mod run_dir;
pub mod schedule;
pub mod settings;
pub mod setup;
pub mod tensorboard;
pub mod trained;
pub mod trainer;
#[cfg(test)]
mod trainer_tests;

/// Whether a value says nothing that its absence would not say.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub use events::Event;
pub use flags::Flags;
pub use run_dir::RunDir;
pub use settings::Settings;
pub use setup::Setup;
pub use tensorboard::TensorBoard;
pub use trained::{Stated, Trained};
pub use trainer::Trainer;
