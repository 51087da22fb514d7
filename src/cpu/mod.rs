//! The kernels as the host engine runs them: same names and arguments as their twins in `reference`, which prove them.
//! A kernel whose twin is fast enough is that twin.
//!
//! Sums are of f32 in short runs, which are added to each other; what is cut for the cores is cut by the shapes alone,
//! so that results do not depend on the number of threads.

// What the compiler vectorizes best: loops of constant length by index over arrays of that length.
#![allow(clippy::needless_range_loop)]

#[macro_use]
mod lanes;
#[cfg(test)]
mod tests;
mod tile;
mod window;

pub mod add;
pub mod batch_norm;
pub mod batch_norm_backward;
pub mod batch_norm_backward_reduce;
pub mod conv2d_dot;
pub mod conv2d_folded;
pub mod conv2d_forward;
pub mod conv2d_input_grad;
pub mod conv2d_packed;
pub mod conv2d_shift;
pub mod conv2d_weight_grad;
pub mod global_avg_pool;
pub mod global_avg_pool_backward;
pub mod latent_update;
pub mod linear;
pub mod linear_input_grad;
pub mod linear_weight_grad;
pub mod max_pool;
pub mod max_pool_backward;
pub mod s3_update;
pub mod sgd;
pub mod shortcut_a;
pub mod shortcut_a_backward;
pub mod sum_partials;

pub use crate::reference::{
    augment, global_avg_pool_integer, layer_means, magnitudes, quantize, shortcut_a_integer,
    softmax_cross_entropy, ternarize,
};
