//! What networks see of an image: torchvision's crops, resized as it does.
//!
//! Resizing is Pillow's antialiased bilinear one: a triangle as wide as the scale, in two passes of integers with a rounding to a
//! byte behind each.

use super::decode::Pixels;
use crate::rng::Draws;
use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ImageView, ResizeAlg, ResizeOptions, Resizer};
use std::cell::RefCell;

/// Share of an image's area that a training crop has, and its width over its height: least and most.
const AREA: [f64; 2] = [0.08, 1.0];
const RATIO: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];

/// Sides from which an evaluation sees 224 / 256 of the short side; below it sees all of it.
const MARGIN_FROM: usize = 224;

/// The length over the width of an image, past which both ends are cut off before it is resized as a whole.
const LONGEST: usize = 8;

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub height: usize,
}

impl Region {
    /// The middle of an image, as torchvision's CenterCrop rounds it.
    fn centre([width, height]: [usize; 2], of: [usize; 2]) -> Region {
        let begin = |part: usize, of: usize| ((of - part) as f64 / 2.0).round_ties_even() as usize;
        Region { left: begin(width, of[0]), top: begin(height, of[1]), width, height }
    }
}

/// The short side that images have before the centre is cut out of them for networks that see `side` pixels.
pub fn short_side(side: usize) -> usize {
    if side >= MARGIN_FROM { side * 256 / 224 } else { side }
}

/// `image` as it is evaluated, to `planes` (3, height, width): resized so that it covers the network's images with the margin of
/// [`short_side`], and cropped in the centre. One of a network's size, where that has no margin, stays as it is.
pub fn evaluate(image: &Pixels, [height, width]: [usize; 2], planes: &mut [u8]) {
    let image = without_ends(image);
    let fitted =
        if height.min(width) >= MARGIN_FROM { [height, width].map(short_side) } else { [height, width] };
    // The side that has to grow more, or shrink less, is fitted; the other keeps the aspect.
    let size = match height * image.width >= width * image.height {
        true => [fitted[0] * image.width / image.height, fitted[0]],
        false => [fitted[1], fitted[1] * image.height / image.width],
    };
    let resized = resize(&image, size);
    let Region { left, top, .. } = Region::centre([width, height], size);
    let rows = resized.chunks_exact(3 * size[0]).skip(top).take(height);
    to_planes(rows.map(|row| &row[3 * left..3 * (left + width)]), width, false, planes);
}

/// All of `image` to `planes` (3, height, width).
pub fn whole(image: &Pixels, planes: &mut [u8]) {
    to_planes(image.bytes.chunks_exact(3 * image.width), image.width, false, planes);
}

/// `image` resized so that its short side is `short`. Of one that is more than 8 times as long as it
/// is wide, only the middle.
pub fn fit(image: &Pixels, short: usize) -> Pixels<'static> {
    let image = without_ends(image);
    let [width, height] = match image.width <= image.height {
        true => [short, short * image.height / image.width],
        false => [short * image.width / image.height, short],
    };
    Pixels { width, height, bytes: resize(&image, [width, height]).into() }
}

/// A random part of `image`, resized and perhaps mirrored, to `planes` (3, side, side): torchvision's RandomResizedCrop and
/// RandomHorizontalFlip by the numbers of `draws`.
pub fn vary(image: &Pixels, side: usize, draws: &mut Draws, planes: &mut [u8]) {
    let region = random_region([image.width, image.height], || f64::from(draws.uniform()));
    let flip = draws.bits() & 1 == 1;
    let pixels = resize_region(image, region, [side, side]);
    to_planes(pixels.chunks_exact(3 * side), side, flip, planes);
}

/// The part of an image of `width` x `height` pixels that RandomResizedCrop takes, by uniform numbers in [0, 1).
fn random_region([width, height]: [usize; 2], mut uniform: impl FnMut() -> f64) -> Region {
    let (w, h) = (width as f64, height as f64);
    let [low, high] = RATIO.map(f64::ln);
    for _ in 0..10 {
        let area = w * h * (AREA[0] + (AREA[1] - AREA[0]) * uniform());
        let ratio = (low + (high - low) * uniform()).exp();
        let part = [(area * ratio).sqrt(), (area / ratio).sqrt()].map(|side| side.round_ties_even() as usize);
        if (1..=width).contains(&part[0]) && (1..=height).contains(&part[1]) {
            let top = (uniform() * (height - part[1] + 1) as f64) as usize;
            let left = (uniform() * (width - part[0] + 1) as f64) as usize;
            return Region { left, top, width: part[0], height: part[1] };
        }
    }
    let part = match w / h {
        ratio if ratio < RATIO[0] => [width, (w / RATIO[0]).round_ties_even() as usize],
        ratio if ratio > RATIO[1] => [(h * RATIO[1]).round_ties_even() as usize, height],
        _ => [width, height],
    };
    Region { left: (width - part[0]) / 2, top: (height - part[1]) / 2, width: part[0], height: part[1] }
}

/// The middle of an image that is very long: all of a line of pixels, made as high as a network wants it, would be gigabytes.
fn without_ends<'a>(image: &'a Pixels) -> Pixels<'a> {
    let [width, height] = [image.width, image.height];
    let most = LONGEST * width.min(height);
    let size = [width.min(most), height.min(most)];
    if size == [width, height] {
        return Pixels { width, height, bytes: (&*image.bytes).into() };
    }
    let Region { left, top, width: w, height: h } = Region::centre(size, [width, height]);
    let rows = image.bytes.chunks_exact(3 * width).skip(top).take(h);
    let bytes: Vec<u8> = rows.flat_map(|row| &row[3 * left..3 * (left + w)]).copied().collect();
    Pixels { width: w, height: h, bytes: bytes.into() }
}

/// All of an image as `width` x `height` pixels.
fn resize(image: &Pixels, size: [usize; 2]) -> Vec<u8> {
    let all = Region { left: 0, top: 0, width: image.width, height: image.height };
    resize_region(image, all, size)
}

/// A part of an image, and nothing beside it, as `width` x `height` pixels.
fn resize_region(image: &Pixels, region: Region, [width, height]: [usize; 2]) -> Vec<u8> {
    thread_local!(static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new()));
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let mut pixels = vec![0; 3 * width * height];
    let [w, h] = [image.width, image.height].map(|side| side as u32);
    let source = TypedImageRef::<U8x3>::from_buffer(w, h, &image.bytes).expect("an image has all its pixels");
    let [left, top, w, h] = [region.left, region.top, region.width, region.height].map(|at| at as u32);
    let source = TypedCroppedImage::from_ref(&source, left, top, w, h).expect("the region is in the image");
    let mut target = TypedImage::<U8x3>::from_buffer(width as u32, height as u32, &mut pixels)
        .expect("made of that size above");
    debug_assert_eq!((source.width(), source.height()), (w, h));
    RESIZER.with_borrow_mut(|resizer| {
        resizer.resize_typed(&source, &mut target, &options).expect("all of an image can be resized");
    });
    pixels
}

/// Rows of `width` pixels as planes R, G, B; each row from its end where `flip`.
fn to_planes<'a>(rows: impl Iterator<Item = &'a [u8]>, width: usize, flip: bool, planes: &mut [u8]) {
    let (red, rest) = planes.split_at_mut(planes.len() / 3);
    let (green, blue) = rest.split_at_mut(rest.len() / 2);
    let planes =
        red.chunks_exact_mut(width).zip(green.chunks_exact_mut(width)).zip(blue.chunks_exact_mut(width));
    for (row, ((red, green), blue)) in rows.zip(planes) {
        let values = red.iter_mut().zip(green).zip(blue);
        let put = |(pixel, ((r, g), b)): (&[u8], ((&mut u8, &mut u8), &mut u8))| {
            (*r, *g, *b) = (pixel[0], pixel[1], pixel[2]);
        };
        match flip {
            true => row.chunks_exact(3).rev().zip(values).for_each(put),
            false => row.chunks_exact(3).zip(values).for_each(put),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decode::decode;
    use crate::rng::Stream;
    use serde_json::Value;

    /// What torchvision made, by tests/fixtures/crops.py.
    fn fixture() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/crops.json")).expect("a fixture is JSON")
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("of numbers")).collect()
    }

    /// A picture whose every pixel tells where it is.
    fn places(width: usize, height: usize) -> Pixels<'static> {
        let bytes = (0..width * height).flat_map(|i| [(i % width) as u8, (i / width) as u8, 9]);
        Pixels { width, height, bytes: bytes.collect() }
    }

    #[test]
    fn regions_are_torchvisions() {
        let fixture = fixture();
        let cases = fixture["regions"].as_array().expect("a list");
        let mut fallbacks = 0;
        for case in cases {
            let [size, drawn, expected] = ["size", "numbers", "region"].map(|key| numbers(&case[key]));
            let mut used = 0;
            let region = random_region([size[0] as usize, size[1] as usize], || {
                used += 1;
                drawn[used - 1]
            });
            let Region { left, top, width, height } = region;
            let got = [left, top, width, height].map(|v| v as f64);
            assert_eq!(got, expected[..], "{size:?} after {used} numbers");
            fallbacks += usize::from(used == 20);
        }
        assert!(cases.len() >= 40 && fallbacks >= 5, "{} cases, {fallbacks} without a fit", cases.len());
    }

    /// Of a part, nothing beside it is seen: its edges are not those of the whole image resized.
    #[test]
    fn parts_are_resized_as_torchvision_does() {
        let image = decode(include_bytes!("../../tests/fixtures/turned.jpg")).expect("an image");
        assert_eq!((image.width, image.height), (37, 23));
        let pixels = resize_region(&image, Region { left: 5, top: 2, width: 13, height: 17 }, [32, 32]);
        let mut planes = vec![0; 3 * 32 * 32];
        to_planes(pixels.chunks_exact(96), 32, false, &mut planes);
        let expected = numbers(&fixture()["part"]);
        let differences = planes.iter().zip(&expected).map(|(&got, want)| (f64::from(got) - want).abs());
        let differences: Vec<f64> = differences.collect();
        let (mean, most) =
            (differences.iter().sum::<f64>() / 3072.0, differences.iter().copied().fold(0.0, f64::max));
        assert!(expected.len() == 3072 && mean <= 0.5 && most <= 3.0, "mean {mean}, at most {most}");
    }

    #[test]
    fn pixels_stay_where_they_are_or_are_mirrored() {
        let image = places(4, 2);
        let mut planes = vec![0; 24];
        whole(&image, &mut planes);
        assert_eq!(planes, [[0, 1, 2, 3, 0, 1, 2, 3], [0, 0, 0, 0, 1, 1, 1, 1], [9; 8]].concat());
        to_planes(image.bytes.chunks_exact(12), 4, true, &mut planes);
        assert_eq!(planes[..16], [[3, 2, 1, 0, 3, 2, 1, 0], [0, 0, 0, 0, 1, 1, 1, 1]].concat());
    }

    /// The resized image is cut in the middle, of odd remainders as Python rounds: 85 is cut at 42, 87 at 44.
    #[test]
    fn the_centre_is_cut_out() {
        for (long, left) in [(105, 42), (107, 44)] {
            let mut planes = vec![0; 3 * 400];
            evaluate(&places(long, 20), [20, 20], &mut planes);
            assert_eq!((planes[0], planes[19], planes[400], planes[799]), (left, left + 19, 0, 19));
        }
        assert_eq!([32, 64, 223, 224, 288].map(short_side), [32, 64, 223, 256, 329]);
    }

    /// Eight times as long as wide is not too long; of what is longer the middle is seen.
    #[test]
    fn ends_of_long_images_are_cut_off() {
        for (long, size, first) in [(160, 160, 0), (161, 160, 0), (164, 160, 2)] {
            let fitted = fit(&places(long, 20), 20);
            assert_eq!((fitted.width, fitted.height, fitted.bytes[0]), (size, 20, first), "{long} x 20");
            let fitted = fit(&places(20, long), 20);
            assert_eq!((fitted.width, fitted.height, fitted.bytes[1]), (20, size, first), "20 x {long}");
        }
    }

    #[test]
    fn packed_images_evaluate_as_the_files_do() {
        let image = decode(include_bytes!("../../tests/fixtures/turned.jpg")).expect("an image");
        for side in [20, 224] {
            let [mut direct, mut packed] = [(); 2].map(|()| vec![0; 3 * side * side]);
            evaluate(&image, [side, side], &mut direct);
            let fitted = fit(&image, short_side(side));
            assert_eq!(fitted.height, short_side(side));
            evaluate(&fitted, [side, side], &mut packed);
            assert!(direct == packed, "{side}");
        }
    }

    /// A crop for each key; half of them mirrored; parts of all sizes.
    #[test]
    fn variation_follows_its_key() {
        let image = places(120, 90);
        let varied = |epoch, index| {
            let mut planes = vec![0; 3 * 256];
            vary(&image, 16, &mut Draws::new(1, Stream::Crop, epoch, index), &mut planes);
            planes
        };
        assert_eq!(varied(2, 5), varied(2, 5));
        assert_ne!(varied(2, 5), varied(3, 5));
        assert_ne!(varied(2, 5), varied(2, 6));
        let crops: Vec<Vec<u8>> = (0..200).map(|index| varied(0, index)).collect();
        let mirrored = crops.iter().filter(|planes| planes[0] > planes[15]).count();
        assert!((75..125).contains(&mirrored), "{mirrored} of 200 are mirrored");
        let widths = crops.iter().map(|planes| planes[0].abs_diff(planes[15]));
        let (least, most) = (widths.clone().min(), widths.max());
        assert!(least < Some(40) && most > Some(90), "widths from {least:?} to {most:?}");
    }
}
