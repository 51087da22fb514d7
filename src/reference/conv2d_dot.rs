//! CPU twin of `shaders/conv2d_dot/`: it computes the same integers as `conv2d_shift`.

pub use super::conv2d_shift::conv2d_shift as conv2d_dot;
