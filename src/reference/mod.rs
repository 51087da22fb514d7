//! The CPU twins: every kernel in plain Rust, with the same buffers in the same order, accumulating in f64.
//! They are the oracle that the WGSL kernels are tested against.

pub mod add;
pub mod augment;
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
pub mod global_avg_pool_integer;
pub mod integers;
pub mod latent_update;
pub mod layer_means;
pub mod linear;
pub mod linear_input_grad;
pub mod linear_weight_grad;
pub mod magnitudes;
pub mod max_pool;
pub mod max_pool_backward;
pub mod quantize;
pub mod sgd;
pub mod shortcut_a;
pub mod shortcut_a_backward;
pub mod shortcut_a_integer;
pub mod softmax_cross_entropy;
pub mod sum_partials;
pub mod ternarize;

/// As PyTorch's ReLU: what is not a number stays one, where `max` would make it 0.
pub fn relu(value: f32) -> f32 {
    if value <= 0.0 { 0.0 } else { value }
}
