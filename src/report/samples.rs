//! Test images with what the network says of them.

use crate::data::{self, Need};
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::method::Method;
use crate::model::state::Tensors;
use crate::model::weights;
use crate::train::evaluate::{Evaluator, Verdict};
use crate::train::run_dir::{Config, weights_file};
use crate::train::{RunDir, checkpoint, trained};
use base64::Engine as _;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Images of the grid, test images that are looked at for it, and images of a batch.
const SHOWN: usize = 40;
const LOOKED_AT: usize = 200;
const BATCH: usize = 50;

/// The longest side of an image on the page, in pixels of the file; larger ones are averaged down.
const LONGEST_SIDE: usize = 64;

/// The grid of images.
#[derive(Clone, Debug)]
pub struct Samples {
    pub images: Vec<Sample>,
    /// Of the test images that were looked at.
    pub right: usize,
    pub looked_at: usize,
    /// File name of the checkpoint, and the adapter that evaluated it.
    pub checkpoint: String,
    pub adapter: String,
}

/// A test image with its prediction.
#[derive(Clone, Debug)]
pub struct Sample {
    /// A `data:` address of a PNG file.
    pub address: String,
    /// Place in the test images, from 0.
    pub index: usize,
    pub truth: String,
    pub predicted: String,
    pub right: bool,
}

/// A run's weights as evaluation reads them.
pub struct Checkpoint {
    pub path: PathBuf,
    pub tensors: Tensors,
    pub method: Method,
    /// Weights as PyTorch counts parameters (running statistics are not), and those that are discrete.
    pub parameters: usize,
    pub discrete: usize,
}

impl Checkpoint {
    /// Reads the best checkpoint of a run, or the `last`; `None` where it has none yet.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the file is damaged or incomplete.
    pub fn read(run: &RunDir, last: bool) -> Result<Option<Checkpoint>> {
        if !run.best().exists() && !run.last().exists() {
            return Ok(None);
        }
        let path = weights_file(&run.path, last)?;
        let (latents, progress) = checkpoint::read_weights(&path)?;
        let method = trained::method(&latents, progress.as_ref().map(|progress| &progress.settings));
        let stored: BTreeSet<String> = latents.keys().cloned().collect();
        let tensors = weights::discretize(latents).map_err(|problem| {
            Error::checkpoint(&path, problem, "Resume the run: it writes its checkpoints anew")
        })?;
        // What latents were is discrete now, but for INQ's that are not all fixed.
        let alphabet = method.family().alphabet();
        let holds = |values: &[f32]| alphabet.is_some_and(|alphabet| alphabet.holds(values));
        let made = tensors.iter().filter(|(name, (_, values))| !stored.contains(*name) && holds(values));
        let discrete = made.map(|(_, (_, values))| values.len()).sum();
        let counted = tensors.iter().filter(|(name, _)| !name.contains(".running_"));
        let parameters = counted.map(|(_, (_, values))| values.len()).sum();
        Ok(Some(Checkpoint { path, tensors, method, parameters, discrete }))
    }

    /// Bytes of the weights, all as f32, and with the discrete ones at their bits.
    pub fn bytes(&self) -> [usize; 2] {
        let packed = (self.discrete * self.method.bits as usize).div_ceil(8);
        [4 * self.parameters, 4 * (self.parameters - self.discrete) + packed]
    }
}

/// Evaluates the first of the run's test images and chooses some of them, wrong ones too.
///
/// `adapter` is as for [`Target::choose`]; without it the run's own counts, and where it is not there, the host.
///
/// # Errors
/// Where the data is gone, the adapter that was asked for is not there, or the weights do not fit.
pub fn collect(config: &Config, checkpoint: &Checkpoint, adapter: Option<&str>) -> Result<Samples> {
    let settings = &config.settings;
    let source = settings.open(Need::Test)?;
    // Of those that the run was evaluated on.
    let test = data::first(&data::first(&source.test, settings.limit_val), Some(LOOKED_AT));
    let network = (settings.arch, settings.shortcut);
    let weights = (checkpoint.path.as_path(), &checkpoint.tensors);
    let evaluate = |target: Target| -> Result<(Vec<Verdict>, String)> {
        let batch = BATCH.min(test.len());
        let mut evaluator = Evaluator::load(network, &source, weights, &target, batch)?;
        Ok((evaluator.verdicts(test.clone())?, target.info().name))
    };
    let (verdicts, adapter) = match adapter {
        Some(wanted) => evaluate(Target::choose(Some(wanted))?)?,
        None => Target::again(&config.adapter).and_then(&evaluate).or_else(|_| evaluate(Target::host()))?,
    };
    let right: Vec<bool> = verdicts.iter().map(|v| v.top1).collect();
    let sample = |index: usize| {
        let mut pixels = vec![0; source.input.image_bytes()];
        let truth = test.read(index, &mut pixels)?;
        let class =
            |class: usize| source.input.classes.get(class).map_or_else(|| class.to_string(), String::clone);
        let [height, width] = source.input.image;
        Ok(Sample {
            address: address(&pixels, width, height),
            index,
            truth: class(truth as usize),
            predicted: class(verdicts[index].class),
            right: right[index],
        })
    };
    Ok(Samples {
        images: pick(&right, SHOWN).into_iter().map(sample).collect::<Result<_>>()?,
        right: right.iter().filter(|&&r| r).count(),
        looked_at: right.len(),
        checkpoint: name_of(&checkpoint.path),
        adapter,
    })
}

/// Chooses up to `count` images, in their order: wrong ones for at most half of the places while there are right
/// ones to fill the rest, each kind spread evenly.
fn pick(right: &[bool], count: usize) -> Vec<usize> {
    let of = |wanted: bool| (0..right.len()).filter(|&i| right[i] == wanted).collect::<Vec<_>>();
    let (rights, wrongs) = (of(true), of(false));
    let wrong = wrongs.len().min((count / 2).max(count.saturating_sub(rights.len())));
    let spread = |from: &[usize], n: usize| (0..n).map(|i| from[i * from.len() / n]).collect::<Vec<_>>();
    let mut picked = spread(&wrongs, wrong);
    picked.extend(spread(&rights, rights.len().min(count - wrong)));
    picked.sort_unstable();
    picked
}

/// Planes R, G, B of `height` rows of `width` bytes as a PNG file in a `data:` address.
fn address(planes: &[u8], width: usize, height: usize) -> String {
    let cell = width.max(height).div_ceil(LONGEST_SIDE).max(1);
    let (w, h) = (width / cell, height / cell);
    let mut rgb = Vec::with_capacity(3 * w * h);
    for y in 0..h {
        for x in 0..w {
            for plane in planes.chunks_exact(width * height) {
                let rows = (y * cell..(y + 1) * cell).map(|row| &plane[row * width..][x * cell..][..cell]);
                let sum: usize = rows.flatten().map(|&v| usize::from(v)).sum();
                rgb.push(((sum + cell * cell / 2) / (cell * cell)) as u8);
            }
        }
    }
    format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png(&rgb, w, h)))
}

/// A PNG file of `height` rows of `width` pixels R, G, B.
fn png(rgb: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header().expect("an image has pixels, and memory takes its header");
    writer.write_image_data(rgb).expect("as many bytes as the header says");
    writer.finish().expect("memory takes the end of the file");
    file
}

/// The last part of a path, for people.
pub fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_ones_are_among_the_picked() {
        // Every fifth is wrong: 20 of 100, so 20 of the 40 places.
        let right: Vec<bool> = (0..100).map(|i| i % 5 != 0).collect();
        let picked = pick(&right, 40);
        assert_eq!(picked.iter().filter(|&&i| !right[i]).count(), 20);
        assert_eq!(picked.len(), 40);
        assert!(picked.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice: {picked:?}");
        assert!(picked[0] < 5 && picked[39] >= 90, "spread: {picked:?}");
    }

    #[test]
    fn places_are_filled_from_the_other_kind() {
        assert_eq!(pick(&[true; 6], 4), [0, 1, 3, 4]);
        assert_eq!(pick(&[false; 6], 4), [0, 1, 3, 4]);
        assert_eq!(pick(&[false, false, false, true], 4), [0, 1, 2, 3]);
        assert_eq!(
            pick(&[false, true, false, false, false, false], 4).iter().filter(|&&i| i == 1).count(),
            1
        );
        assert_eq!(pick(&[true, false], 4), [0, 1]);
        assert!(pick(&[], 4).is_empty());
    }

    fn decode(address: &str) -> (Vec<u8>, u32, u32) {
        let base64 = address.strip_prefix("data:image/png;base64,").expect("a PNG address");
        let file = base64::engine::general_purpose::STANDARD.decode(base64).expect("base64");
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("a PNG file");
        let mut rgb = vec![0; reader.output_buffer_size().expect("small")];
        let info = reader.next_frame(&mut rgb).expect("an image");
        (rgb, info.width, info.height)
    }

    #[test]
    fn planes_become_pixels() {
        let planes: Vec<u8> = (0..18).map(|i| i * 10).collect();
        let (rgb, width, height) = decode(&address(&planes, 3, 2));
        assert_eq!((width, height), (3, 2));
        assert_eq!(rgb[..6], [0, 60, 120, 10, 70, 130]);
        assert_eq!(rgb[15..], [50, 110, 170]);
    }

    #[test]
    fn large_images_are_averaged_down() {
        // 2x2 cells of 0, 1, 2, 5 give 2; of 10 give 10.
        let (width, height) = (128, 2);
        let mut plane = vec![10; width * height];
        (plane[0], plane[1], plane[width], plane[width + 1]) = (0, 1, 2, 5);
        let (rgb, w, h) = decode(&address(&plane.repeat(3), width, height));
        assert_eq!((w, h), (64, 1));
        assert_eq!(rgb[..6], [2, 2, 2, 10, 10, 10]);
    }
}
