//! CPU twin of `shaders/augment.wgsl`.

use crate::kernels::Step;
use crate::kernels::augment::Params;
use crate::rng::{self, Stream};

const PAD: i32 = 4;

/// y (N, H, W, 4) = normalized, and while training cropped and flipped, images (N, 3, H, W).
pub fn augment(p: &Params, step: &[u32], images: &[u32], y: &mut [f32]) {
    let step = Step::from_words(step);
    let bytes: &[u8] = bytemuck::cast_slice(images);
    let seed = u64::from(step.seed[0]) | u64::from(step.seed[1]) << 32;
    let (height, width) = (p.h as i32, p.w as i32);
    let area = (p.h * p.w) as usize;
    let (scale, shift) = ([p.scale_r, p.scale_g, p.scale_b], [p.shift_r, p.shift_g, p.shift_b]);
    for n in 0..p.n {
        let (mut flip, mut dh, mut dw) = (false, 0, 0);
        if step.augment == 1 {
            let random = rng::draw(seed, Stream::Augment, step.step, step.first + n);
            flip = random[2] & 1 == 1;
            dh = (random[0] % (2 * PAD as u32 + 1)) as i32 - PAD;
            dw = (random[1] % (2 * PAD as u32 + 1)) as i32 - PAD;
        }
        for row in 0..height {
            for column in 0..width {
                let (h, w) = (row + dh, if flip { width - 1 - column } else { column } + dw);
                let inside = h >= 0 && h < height && w >= 0 && w < width;
                let pixel = n as usize * area + (row * width + column) as usize;
                for c in 0..3 {
                    let byte = match inside {
                        true => bytes[(n as usize * 3 + c) * area + (h * width + w) as usize],
                        false => 0,
                    };
                    y[pixel * 4 + c] = f32::from(byte) * scale[c] + shift[c];
                }
                y[pixel * 4 + 3] = 0.0;
            }
        }
    }
}
