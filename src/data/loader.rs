//! Batches, read ahead: the images of a batch on all cores, in a pool of threads of their own.

use super::Dataset;
use crate::error::{Error, Result};
use crate::rng::{Draws, Stream};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

/// Batches that are read ahead.
const AHEAD: usize = 2;

/// Images in a row that cannot be read, after which the fault is not theirs.
const MOST_UNREADABLE: usize = 100;

/// How images are read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// 3 H W.
    pub image_bytes: usize,
    /// Whether datasets that vary their images do so, and by which random numbers.
    pub vary: Option<Variation>,
    /// Whether an image that cannot be read is an error; else the next one takes its place.
    pub strict: bool,
}

/// With an image's number, the key of its random numbers.
#[derive(Clone, Copy, Debug)]
pub struct Variation {
    /// The run's.
    pub seed: u64,
    /// From 0.
    pub epoch: u32,
}

impl Reading {
    /// As images are evaluated.
    pub fn plain(image_bytes: usize) -> Reading {
        Reading { image_bytes, vary: None, strict: false }
    }

    /// Reads image `index` of `dataset`, or the next one that can be read; returns the label, and adds to `unreadable` what was
    /// wrong with those that cannot.
    fn read(
        self,
        dataset: &dyn Dataset,
        index: usize,
        pixels: &mut [u8],
        unreadable: &mut Vec<String>,
    ) -> Result<u32> {
        let len = dataset.len();
        let mut first = None;
        for further in 0..MOST_UNREADABLE.min(len) {
            let at = (index + further) % len;
            let label = match self.vary {
                Some(Variation { seed, epoch }) => {
                    let draws = Draws::new(seed, Stream::Crop, epoch, index as u32);
                    dataset.read_varied(at, draws, pixels)
                }
                None => dataset.read(at, pixels),
            };
            match label {
                Err(error @ Error::Image { .. }) if !self.strict => {
                    unreadable.push(error.to_string());
                    first.get_or_insert(error);
                }
                label => return label,
            }
        }
        Err(match first {
            Some(Error::Image { path, problem, remedy }) => {
                let more = match unreadable.len() {
                    1 => problem,
                    all => format!("{problem}, and so are the {} behind it", all - 1),
                };
                Error::Data { path, problem: more, remedy }
            }
            _ => Error::Usage("the dataset is empty".into()),
        })
    }
}

/// Images of a batch, one after the other, and their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// (N, 3, H, W) bytes.
    pub images: Vec<u8>,
    /// (N): the numbers of their classes.
    pub labels: Vec<u32>,
    /// Images that could not be read, so that others stand in their places: what is wrong with each.
    pub unreadable: Vec<String>,
}

impl Batch {
    /// Reads images `indices` of `dataset`.
    ///
    /// # Errors
    /// The first of the dataset's, in the images' order.
    pub fn read(dataset: &dyn Dataset, indices: &[u32], reading: Reading) -> Result<Batch> {
        in_parallel(|| Batch::gather(dataset, indices, reading))
    }

    /// [`Batch::read`] with the threads that call it.
    fn gather(dataset: &dyn Dataset, indices: &[u32], reading: Reading) -> Result<Batch> {
        if reading.image_bytes == 0 {
            return Err(Error::setting("the size of an image", "0 bytes", "at least 1"));
        }
        let mut images = vec![0; indices.len() * reading.image_bytes];
        let read = |(pixels, &index): (&mut [u8], &u32)| {
            let mut unreadable = Vec::new();
            let label = reading.read(dataset, index as usize, pixels, &mut unreadable)?;
            Ok((label, unreadable))
        };
        let places = images.par_chunks_exact_mut(reading.image_bytes).zip(indices);
        let read: Vec<Result<(u32, Vec<String>)>> = places.map(read).collect();
        let mut batch = Batch { images, labels: Vec::with_capacity(indices.len()), unreadable: vec![] };
        for image in read {
            let (label, unreadable) = image?;
            batch.labels.push(label);
            batch.unreadable.extend(unreadable);
        }
        Ok(batch)
    }
}

/// Runs `work` with the threads that read data: as many as there are cores, or as RAYON_NUM_THREADS says. They are not those that
/// compute, so that no kernel waits for a file.
pub(super) fn in_parallel<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let name = |i| format!("data {i}");
    match POOL.get_or_init(|| ThreadPoolBuilder::new().thread_name(name).build().ok()) {
        Some(pool) => pool.install(work),
        // Where there are no threads to be had, those that compute have to do.
        None => work(),
    }
}

/// How many threads read data.
pub fn threads() -> usize {
    in_parallel(rayon::current_num_threads)
}

/// The batches of an epoch, in order. The thread ends when the loader is dropped.
pub struct Loader {
    batches: Receiver<Result<Batch>>,
    /// What reads them, until it was found to have ended.
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Reads the images of `order` in batches of `batch`, the last one perhaps smaller. A batch of no images is an error where the
    /// first one is asked for.
    pub fn new(dataset: Arc<dyn Dataset>, order: Vec<u32>, batch: usize, reading: Reading) -> Loader {
        let (sender, batches) = sync_channel(AHEAD);
        let thread = std::thread::spawn(move || {
            if batch == 0 {
                // Nobody may have asked.
                let _ = sender.send(Err(Error::setting("a batch of the loader", 0, "at least 1 image")));
                return;
            }
            for indices in order.chunks(batch) {
                // An error here means that nobody waits for batches any more.
                if sender.send(Batch::read(dataset.as_ref(), indices, reading)).is_err() {
                    return;
                }
            }
        });
        Loader { batches, thread: Some(thread) }
    }

    /// The next batch, or `None` after the last.
    ///
    /// # Errors
    /// The first of the dataset's, in the images' order.
    ///
    /// # Panics
    /// With what the dataset panicked with.
    pub fn next_batch(&mut self) -> Option<Result<Batch>> {
        let batch = self.batches.recv().ok();
        if batch.is_none()
            && let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
        {
            std::panic::resume_unwind(panic);
        }
        batch
    }

    /// The next batch of an order that is known to have one.
    ///
    /// # Errors
    /// As [`Loader::next_batch`]; [`Error::Usage`] where there is none.
    ///
    /// # Panics
    /// As [`Loader::next_batch`].
    pub fn expect_batch(&mut self) -> Result<Batch> {
        self.next_batch().unwrap_or_else(|| Err(Error::Usage("the dataset ended before its epoch".into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::InMemory;

    #[test]
    fn batches_follow_the_order() {
        let dataset = Arc::new(InMemory { pixels: (0..20).collect(), labels: (0..10).collect() });
        let mut loader = Loader::new(dataset, vec![3, 1, 9, 0, 2], 2, Reading::plain(2));
        let mut batch = || loader.next_batch().map(|b| b.expect("in memory"));
        let of = |images: &[u8], labels: &[u32]| {
            Some(Batch { images: images.into(), labels: labels.into(), unreadable: vec![] })
        };
        assert_eq!(batch(), of(&[6, 7, 2, 3], &[3, 1]));
        assert_eq!(batch(), of(&[18, 19, 0, 1], &[9, 0]));
        assert_eq!(batch(), of(&[4, 5], &[2]));
        assert_eq!(batch(), None);
    }

    /// 50 images whose bytes are drawn, each after a wait of its own; every fifth is damaged.
    struct Drawn;

    impl Dataset for Drawn {
        fn len(&self) -> usize {
            50
        }

        fn read(&self, index: usize, pixels: &mut [u8]) -> Result<u32> {
            std::thread::sleep(std::time::Duration::from_micros((index * 7919 % 500) as u64));
            if index % 5 == 4 {
                let problem = format!("image {index} is damaged");
                return Err(Error::Image { path: "".into(), problem, remedy: String::new() });
            }
            pixels.fill(index as u8);
            Ok(index as u32)
        }

        fn read_varied(&self, index: usize, mut draws: Draws, pixels: &mut [u8]) -> Result<u32> {
            let label = self.read(index, pixels)?;
            pixels.fill_with(|| draws.bits() as u8);
            Ok(label)
        }
    }

    fn varied(epoch: u32) -> Reading {
        Reading { vary: Some(Variation { seed: 3, epoch }), ..Reading::plain(16) }
    }

    #[test]
    fn the_number_of_threads_changes_no_byte() {
        let order = Draws::new(1, Stream::Shuffle, 0, 0).permutation(50);
        let read = |threads, order: &[u32], reading| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("a few threads");
            pool.install(|| Batch::gather(&Drawn, order, reading)).expect("readable")
        };
        let one = read(1, &order, varied(7));
        assert_eq!(one.unreadable.len(), 10);
        for threads in [2, 5, 16] {
            assert_eq!(read(threads, &order, varied(7)), one);
        }
        // Neither does the batch that an image is in, but the epoch does.
        let part = read(2, &order[13..20], varied(7));
        assert_eq!(part.images, one.images[13 * 16..20 * 16]);
        assert_eq!(part.labels, one.labels[13..20]);
        assert_ne!(read(1, &order, varied(8)).images, one.images);
    }

    /// The next image takes the place of one that is damaged, at the end of the dataset the first.
    #[test]
    fn damaged_images_are_replaced() {
        let batch = Batch::read(&Drawn, &[3, 4, 49], Reading::plain(1)).expect("readable");
        assert_eq!((batch.labels, batch.images), (vec![3, 5, 0], vec![3, 5, 0]));
        let named = |(problem, name): (&String, &&str)| problem.contains(name);
        assert_eq!(batch.unreadable.len(), 2);
        assert!(batch.unreadable.iter().zip(&["image 4 ", "image 49 "]).all(named), "{:?}", batch.unreadable);
        // Another image by the numbers of the one that is not there.
        let [got, own] = [4, 5].map(|index| Batch::read(&Drawn, &[index], varied(7)).expect("readable"));
        let mut draws = Draws::new(3, Stream::Crop, 7, 4);
        let expected: Vec<u8> = (0..16).map(|_| draws.bits() as u8).collect();
        assert!(got.images == expected && got.labels == own.labels && got.images != own.images);
        let strict = Reading { strict: true, ..Reading::plain(1) };
        let error = Batch::read(&Drawn, &[3, 14, 4], strict).expect_err("damaged").to_string();
        assert!(error.contains("image 14 is damaged"), "{error}");
    }

    /// As many images, of which every one is damaged.
    struct Nothing(usize);

    impl Dataset for Nothing {
        fn len(&self) -> usize {
            self.0
        }

        fn read(&self, _: usize, _: &mut [u8]) -> Result<u32> {
            Err(Error::Image { path: "x.jpg".into(), problem: "is grey".into(), remedy: "Look".into() })
        }
    }

    /// One image that nobody foresaw.
    struct Unforeseen;

    impl Dataset for Unforeseen {
        fn len(&self) -> usize {
            6
        }

        fn read(&self, index: usize, _: &mut [u8]) -> Result<u32> {
            assert_ne!(index, 3, "nobody foresaw image 3");
            Ok(0)
        }
    }

    #[test]
    #[should_panic(expected = "nobody foresaw image 3")]
    fn a_panic_of_the_dataset_is_the_callers() {
        let mut loader = Loader::new(Arc::new(Unforeseen), (0..6).collect(), 2, Reading::plain(1));
        loader.expect_batch().expect("images 0 and 1");
        let _ = loader.expect_batch();
    }

    #[test]
    fn batches_of_nothing_are_refused() {
        let mut of_none = Loader::new(Arc::new(Drawn), vec![0, 1], 0, Reading::plain(1));
        let error = of_none.next_batch().and_then(Result::err).expect("no batch has no image").to_string();
        assert!(error.contains("a batch of the loader is 0"), "{error}");
        let mut of_nothing = Loader::new(Arc::new(Drawn), vec![0, 1], 2, Reading::plain(0));
        let error = of_nothing.next_batch().and_then(Result::err).expect("no image has no bytes").to_string();
        assert!(error.contains("0 bytes"), "{error}");
    }

    #[test]
    fn a_dataset_without_an_image_is_an_error() {
        for (len, expected) in [
            (100_000, "x.jpg: is grey, and so are the 99 behind it. Look"),
            (3, "x.jpg: is grey, and so are the 2 behind it. Look"),
            (1, "x.jpg: is grey. Look"),
            (0, "the dataset is empty"),
        ] {
            let read = Batch::read(&Nothing(len), &[0], Reading::plain(1));
            let error = read.expect_err("no image").to_string();
            assert_eq!(error, expected, "{len} images");
        }
    }
}
