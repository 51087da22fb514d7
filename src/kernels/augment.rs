//! Images of bytes to normalized activations, with random crop and flip while training.

use super::Step;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! {
    Params {
        n: u32, h: u32, w: u32,
        scale_r: f32, scale_g: f32, scale_b: f32,
        shift_r: f32, shift_g: f32, shift_b: f32,
    }
}
kernel! { augment(Params) [step: Read U32, images: Read U32, y: Write F32] }

/// Words (4 bytes) that hold `n` images of 3 x `h` x `w` bytes.
pub fn image_words(n: usize, h: usize, w: usize) -> usize {
    (n * 3 * h * w).div_ceil(4)
}

/// y (n, h, w, 4) = (image / 255 - mean) / std of images (n, 3, h, w) of bytes; channel 3 is 0.
/// Where `step.augment` is 1, each image is first shifted by up to 4 pixels each way (what enters
/// is 0 before the normalization) and flipped, by random numbers of (seed, step, place in the batch).
pub fn dispatch(
    label: &str,
    [n, h, w]: [usize; 3],
    mean: [f32; 3],
    std: [f32; 3],
    step: View,
    images: View,
    y: View,
) -> Result<Dispatch> {
    let scale = std.map(|s| 1.0 / (255.0 * s));
    let shift = [0, 1, 2].map(|i| -mean[i] / std[i]);
    let params = Params {
        n: n as u32,
        h: h as u32,
        w: w as u32,
        scale_r: scale[0],
        scale_g: scale[1],
        scale_b: scale[2],
        shift_r: shift[0],
        shift_g: shift[1],
        shift_b: shift[2],
    };
    let pixels = n * h * w;
    let views = [(step, Step::LEN), (images, image_words(n, h, w)), (y, pixels * 4)];
    KERNEL.dispatch(label, params, &views, pixels, pixels * 6)
}
