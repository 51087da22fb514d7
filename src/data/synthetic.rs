//! The built-in data set: ten classes of 32x32 colour pictures of simple patterns and shapes, for
//! demos and tests where no files are at hand. A small convolutional network learns it within
//! minutes; a linear classifier cannot, since position, phase, scale, and which of the two colours is
//! the lighter are random.
//!
//! A picture depends on (seed, split, index) alone. Only exactly rounded operations (`+ - * /`,
//! `sqrt`, `floor`) go into it, so its bytes are the same on every platform.

use super::{Dataset, DatasetName, Input, Need, Source};
use crate::error::Result;
use crate::rng::{Draws, Stream};
use std::sync::Arc;

/// Width and height of a picture, in pixels.
pub const SIDE: usize = 32;

/// Bytes of a picture: the planes R, G, B of `SIDE` rows of `SIDE` pixels.
pub const BYTES: usize = 3 * SIDE * SIDE;

/// The split number of the training pictures.
pub const TRAIN: u32 = 0;

/// The split number of the test pictures.
pub const TEST: u32 = 1;

/// Class names; a label is a place in this list. A mirrored picture keeps its class.
pub const CLASSES: [&str; 10] = [
    "horizontal stripes",
    "vertical stripes",
    "diagonal stripes",
    "checkerboard",
    "dots",
    "target",
    "ring",
    "triangle",
    "cross",
    "frame",
];

/// Training pictures of the data set; the first ones are as good as any.
pub const TRAIN_LEN: usize = 10_000;

/// Test pictures of the data set.
pub const TEST_LEN: usize = 2_000;

/// What its networks are fed.
pub fn input() -> Input {
    Input { classes: CLASSES.map(String::from).to_vec(), image: [SIDE, SIDE], mean: [0.5; 3], std: [0.25; 3] }
}

/// The data set of a seed.
pub fn open(seed: u64, need: Need) -> Source {
    let train = if need == Need::TrainAndTest { TRAIN_LEN } else { 0 };
    Source {
        name: DatasetName::Synthetic,
        input: input(),
        train: Arc::new(Pictures { seed, split: TRAIN, len: train }),
        test: Arc::new(Pictures { seed, split: TEST, len: TEST_LEN }),
        notes: vec![],
    }
}

/// A split, drawn picture by picture.
struct Pictures {
    seed: u64,
    split: u32,
    len: usize,
}

impl Dataset for Pictures {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32> {
        Ok(image(self.seed, self.split, index as u32, pixels).into())
    }
}

/// Added to the split number where labels are drawn, apart from the numbers of any picture.
const LABELS: u32 = 1 << 31;

/// Half the width of the uniform noise on each value, as a part of full brightness.
const NOISE: f32 = 0.05;

/// The label, 0..10, of picture `index`; every run of ten from a multiple of ten has each label once.
///
/// `split` is below 2^31: [`TRAIN`], [`TEST`], or another number for further pictures.
pub fn label(seed: u64, split: u32, index: u32) -> u8 {
    let order = Draws::new(seed, Stream::Synthetic, split | LABELS, index / 10).permutation(10);
    order[(index % 10) as usize] as u8
}

/// Draws picture `index` of a split into `pixels` and returns its label, 0..10.
///
/// `pixels` has [`BYTES`] bytes, in CIFAR-10's layout: planes R, G, B, each of 32 rows from the top,
/// each of 32 values from the left, 0 (dark) to 255. `split` is as for [`label`].
///
/// # Panics
///
/// If `pixels` has another length.
pub fn image(seed: u64, split: u32, index: u32, pixels: &mut [u8]) -> u8 {
    assert_eq!(pixels.len(), BYTES, "a picture has {BYTES} bytes");
    let class = label(seed, split, index);
    let mut draws = Draws::new(seed, Stream::Synthetic, split, index);
    let scene = Scene::new(&mut draws);
    let paint = Paint::new(&mut draws);
    let (red, rest) = pixels.split_at_mut(SIDE * SIDE);
    let (green, blue) = rest.split_at_mut(SIDE * SIDE);
    for i in 0..SIDE * SIDE {
        let (x, y) = (from_middle(i % SIDE), from_middle(i / SIDE));
        let rgb = paint.colour(scene.coverage(class, x, y), x, y);
        // The low three bytes of one number give the noise of the three values.
        let [r, g, b, _] = draws.bits().to_le_bytes();
        red[i] = noisy(rgb[0], r);
        green[i] = noisy(rgb[1], g);
        blue[i] = noisy(rgb[2], b);
    }
    class
}

/// The centre of pixel `i` of a row or column, in pixels from the middle of the picture.
fn from_middle(i: usize) -> f32 {
    i as f32 - (SIDE as f32 - 1.0) / 2.0
}

/// `value`, 1 for full brightness, with the noise `noise` as a byte.
fn noisy(value: f32, noise: u8) -> u8 {
    let value = value + NOISE * (f32::from(noise) / 127.5 - 1.0);
    // The conversion saturates.
    (value * 255.0 + 0.5) as u8
}

/// Where and how large the pattern or shape lies in the picture.
#[derive(Clone, Copy, Debug)]
struct Scene {
    /// The shape's centre, or the pattern's phase: pixels right of and below the picture's middle.
    centre: [f32; 2],
    /// Cosine and sine of the small turn.
    turn: [f32; 2],
    /// 1, or -1 to draw the mirror image: a flipped picture is as likely as the picture itself.
    mirror: f32,
    /// Width of two stripes, two fields or one dot's cell, in pixels.
    period: f32,
    /// Half the width of a shape, in pixels.
    radius: f32,
    /// Half the width of a shape's lines, in pixels.
    line: f32,
}

impl Scene {
    fn new(draws: &mut Draws) -> Self {
        let tangent = draws.range(-0.15, 0.15);
        let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
        Self {
            centre: [draws.range(-3.0, 3.0), draws.range(-3.0, 3.0)],
            turn: [cosine, tangent * cosine],
            mirror: if draws.below(2) == 0 { 1.0 } else { -1.0 },
            period: draws.range(6.0, 11.0),
            radius: draws.range(9.0, 12.0),
            line: draws.range(1.2, 2.2),
        }
    }

    /// How much of the pixel at (x, y), in pixels from the middle, is foreground: 0 to 1.
    fn coverage(&self, class: u8, x: f32, y: f32) -> f32 {
        let (x, y) = (self.mirror * (x - self.centre[0]), y - self.centre[1]);
        let [cosine, sine] = self.turn;
        let distance = self.distance(class, cosine * x + sine * y, cosine * y - sine * x);
        (0.5 - distance).clamp(0.0, 1.0)
    }

    /// The distance in pixels of the point (x, y) from the foreground's edge, negative inside it.
    fn distance(&self, class: u8, x: f32, y: f32) -> f32 {
        use std::f32::consts::FRAC_1_SQRT_2;
        let (width, height) = (x.abs(), y.abs());
        let (long, short) = (width.max(height), width.min(height));
        match class {
            0 => self.stripes(y),
            1 => self.stripes(x),
            2 => self.stripes((x + y) * FRAC_1_SQRT_2),
            3 => self.checkerboard(x, y),
            4 => length(self.in_cell(x), self.in_cell(y)) - 0.3 * self.period,
            5 => self.stripes(length(x, y)),
            6 => (length(x, y) - self.radius).abs() - self.line,
            7 => self.triangle(width, y),
            8 => (long - self.radius).max(short - 1.5 * self.line),
            _ => (long - self.radius).abs() - self.line,
        }
    }

    /// `x` less the nearest multiple of the period.
    fn in_cell(&self, x: f32) -> f32 {
        x - self.period * (x / self.period + 0.5).floor()
    }

    fn stripes(&self, x: f32) -> f32 {
        self.in_cell(x).abs() - self.period / 4.0
    }

    fn checkerboard(&self, x: f32, y: f32) -> f32 {
        let (column, row) = (self.stripes(x), self.stripes(y));
        column.abs().min(row.abs()) * column.signum() * row.signum()
    }

    /// An equilateral triangle, point up, `width` from its axis; its middle height is at y = 0.
    fn triangle(&self, width: f32, y: f32) -> f32 {
        const COS_30: f32 = 0.866_025_4;
        let inner = 0.65 * self.radius;
        let y = y - inner / 2.0;
        y.max(COS_30 * width - 0.5 * y) - inner
    }
}

/// The colours of a picture.
#[derive(Clone, Copy, Debug)]
struct Paint {
    /// R, G, B of the background, 1 for full brightness.
    background: [f32; 3],
    /// R, G, B of the foreground less those of the background.
    difference: [f32; 3],
    /// Change of brightness, as a part, per pixel to the right and per pixel down.
    gradient: [f32; 2],
}

impl Paint {
    fn new(draws: &mut Draws) -> Self {
        let dark = hue(draws.uniform(), draws.range(0.18, 0.34), draws.range(0.1, 0.26));
        let light = hue(draws.uniform(), draws.range(0.66, 0.82), draws.range(0.1, 0.26));
        let (background, foreground) = if draws.below(2) == 0 { (dark, light) } else { (light, dark) };
        Self {
            background,
            difference: std::array::from_fn(|i| foreground[i] - background[i]),
            gradient: [draws.range(-0.008, 0.008), draws.range(-0.008, 0.008)],
        }
    }

    /// R, G, B at (x, y), in pixels from the middle, where `coverage` of it is foreground.
    fn colour(&self, coverage: f32, x: f32, y: f32) -> [f32; 3] {
        let light = 1.0 + self.gradient[0] * x + self.gradient[1] * y;
        std::array::from_fn(|i| light * (self.background[i] + coverage * self.difference[i]))
    }
}

/// R, G, B around `brightness`, up to `strength` away, of a hue on the colour circle of length 1.
fn hue(hue: f32, brightness: f32, strength: f32) -> [f32; 3] {
    [0.0, 1.0 / 3.0, 2.0 / 3.0].map(|shift| {
        let place = hue + shift;
        let wave = 4.0 * (place - place.floor() - 0.5).abs() - 1.0;
        brightness + strength * wave
    })
}

fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, split: u32, index: u32) -> (u8, Vec<u8>) {
        let mut pixels = vec![0; BYTES];
        let label = image(seed, split, index, &mut pixels);
        (label, pixels)
    }

    #[test]
    fn seed_split_and_index_decide_the_picture() {
        let first = drawn(1, TRAIN, 0);
        assert_eq!(first, drawn(1, TRAIN, 0));
        for other in [drawn(2, TRAIN, 0), drawn(1, TEST, 0), drawn(1, TRAIN, 1)] {
            assert_ne!(first.1, other.1);
        }
    }

    /// A changed picture would silently change every result reported on this data.
    #[test]
    fn the_bytes_are_pinned() {
        let hash =
            (0..20).flat_map(|i| drawn(7, TRAIN, i).1).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
            });
        assert_eq!(hash, 0x6aba_0c2c_5f25_b73c, "{hash:#x}");
    }

    #[test]
    fn every_ten_pictures_have_every_label() {
        let mut orders = Vec::new();
        for start in (0..200).step_by(10) {
            let order: Vec<u8> = (start..start + 10).map(|i| label(3, TRAIN, i)).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..CLASSES.len() as u8).collect::<Vec<_>>());
            orders.push(order);
        }
        orders.dedup();
        assert!(orders.len() > 15, "the labels repeat");
    }

    #[test]
    fn the_mirrored_scene_is_the_flipped_picture() {
        for class in 0..CLASSES.len() as u8 {
            let scene = Scene::new(&mut Draws::new(4, Stream::Synthetic, TRAIN, u32::from(class)));
            let [right, down] = scene.centre;
            let mirrored = Scene { centre: [-right, down], mirror: -scene.mirror, ..scene };
            for i in 0..SIDE * SIDE {
                let (x, y) = (from_middle(i % SIDE), from_middle(i / SIDE));
                assert_eq!(scene.coverage(class, x, y), mirrored.coverage(class, -x, y));
            }
        }
    }

    #[test]
    fn both_colours_show_and_neither_is_always_the_lighter() {
        let mut lighter = 0;
        for index in 0..200 {
            let mut draws = Draws::new(5, Stream::Synthetic, TRAIN, index);
            let (scene, paint) = (Scene::new(&mut draws), Paint::new(&mut draws));
            lighter += u32::from(paint.difference.iter().sum::<f32>() > 0.0);
            for class in 0..CLASSES.len() as u8 {
                let covered: f32 = (0..SIDE * SIDE)
                    .map(|i| scene.coverage(class, from_middle(i % SIDE), from_middle(i / SIDE)))
                    .sum::<f32>()
                    / (SIDE * SIDE) as f32;
                assert!((0.08..0.7).contains(&covered), "{} covers {covered}", CLASSES[class as usize]);
            }
        }
        assert!((70..130).contains(&lighter), "{lighter} of 200 foregrounds are the lighter");
    }

    #[test]
    fn values_spread() {
        for index in 0..50 {
            let (_, pixels) = drawn(6, TEST, index);
            let (low, high) = (pixels.iter().min().unwrap(), pixels.iter().max().unwrap());
            assert!(high - low > 90, "{low} to {high}");
        }
    }
}
