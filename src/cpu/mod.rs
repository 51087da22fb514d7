//! The kernels as the host engine runs them: same names and arguments as their twins in `reference`, which prove them.
//! A kernel whose twin is fast enough is that twin.

pub use crate::reference::{
    add, augment, batch_norm, batch_norm_backward, batch_norm_backward_reduce, conv2d_forward,
    conv2d_input_grad, conv2d_weight_grad, global_avg_pool, global_avg_pool_backward, linear,
    linear_input_grad, linear_weight_grad, max_pool, max_pool_backward, s3_update, sgd, shortcut_a,
    shortcut_a_backward, softmax_cross_entropy, sum_partials,
};
