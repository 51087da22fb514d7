//! The weight families.

pub mod s3;
