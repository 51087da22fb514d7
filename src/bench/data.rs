//! How fast images are read from a folder or a packed file.

use super::Budget;
use super::record::DataTimes;
use crate::data::loader::threads;
use crate::data::{DatasetName, Loader, Opening, Reading, Source, Variation, pictures};
use crate::error::Result;
use crate::rng::{Draws, Stream};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Images that are read before the clock starts, so that the files are in memory.
const WARM_UP: usize = 300;
/// Images of a loader's batch.
const BATCH: usize = 64;

/// Measures the test images of `path`, an image folder or a packed file, on one thread and on all.
///
/// # Errors
/// What the dataset reports; an image that cannot be read is one.
pub fn measure(path: &Path, image_size: Option<usize>, budget: Budget) -> Result<Vec<DataTimes>> {
    let opening = Opening { data: Some(path), image_size, ..Opening::default() };
    let source = Source::open_as(DatasetName::ImageFolder, &opening)?;
    let (images, len) = (source.test.clone(), source.test.len());
    let mut planes = vec![0; source.input.image_bytes()];
    for index in 0..len.min(WARM_UP) {
        images.read(index, &mut planes)?;
    }
    let mut all = Vec::new();
    if path.is_dir() {
        let files = pictures::files(&[path.join("val")])?;
        let decode = |i: usize| pictures::open(&files[i % files.len()]).map(drop);
        all.push(rate("decode", budget, decode)?);
    }
    all.push(rate("evaluation crop", budget, |i| images.read(i % len, &mut planes).map(drop))?);
    let draws = |i: usize| Draws::new(1, Stream::Crop, (i / len) as u32, (i % len) as u32);
    all.push(rate("training crop", budget, |i| {
        images.read_varied(i % len, draws(i), &mut planes).map(drop)
    })?);
    all.push(ahead(&source, budget)?);
    Ok(all)
}

/// Images a second of `work`, by their number.
fn rate(work: &str, budget: Budget, mut read: impl FnMut(usize) -> Result<()>) -> Result<DataTimes> {
    let began = Instant::now();
    let mut images = 0;
    while images < 10 || began.elapsed().as_secs_f64() < budget.seconds {
        read(images)?;
        images += 1;
    }
    let images_per_s = images as f64 / began.elapsed().as_secs_f64();
    Ok(DataTimes { work: work.into(), threads: 1, images, images_per_s })
}

/// Training crops as a loader reads them: on all threads.
fn ahead(source: &Source, budget: Budget) -> Result<DataTimes> {
    let len = source.test.len();
    let vary = Some(Variation { seed: 1, epoch: 0 });
    let reading = Reading { vary, strict: true, ..Reading::plain(source.input.image_bytes()) };
    let open = || {
        let order = (0..1_000_000).map(|i| i % len as u32).collect();
        let mut loader = Loader::new(Arc::clone(&source.test), order, BATCH, reading);
        // What was read while nobody waited does not count.
        (0..4).try_for_each(|_| loader.expect_batch().map(drop)).map(|()| loader)
    };
    let mut loader = open()?;
    let began = Instant::now();
    let mut images = 0;
    while images < 10 * BATCH || began.elapsed().as_secs_f64() < budget.seconds {
        match loader.next_batch() {
            Some(batch) => images += batch?.labels.len(),
            None => loader = open()?,
        }
    }
    let images_per_s = images as f64 / began.elapsed().as_secs_f64();
    Ok(DataTimes { work: "training crop, read ahead".into(), threads: threads(), images, images_per_s })
}
