//! Batches, read ahead on a thread of their own.

use super::Dataset;
use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

/// Batches that are read ahead.
const AHEAD: usize = 2;

/// Images of a batch, one after the other, and their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub images: Vec<u8>,
    pub labels: Vec<u32>,
}

impl Batch {
    /// Reads images `indices` of `dataset`, `image_bytes` bytes each.
    pub fn read(dataset: &dyn Dataset, indices: &[u32], image_bytes: usize) -> Result<Batch> {
        let mut images = vec![0; indices.len() * image_bytes];
        let mut labels = Vec::with_capacity(indices.len());
        for (pixels, &index) in images.chunks_exact_mut(image_bytes).zip(indices) {
            labels.push(dataset.read(index as usize, pixels)?);
        }
        Ok(Batch { images, labels })
    }
}

/// The batches of an epoch, in order. The thread ends when the loader is dropped.
pub struct Loader(Receiver<Result<Batch>>);

impl Loader {
    /// Reads the images of `order` in batches of `batch`, the last one perhaps smaller.
    pub fn new(dataset: Arc<dyn Dataset>, order: Vec<u32>, batch: usize, image_bytes: usize) -> Loader {
        let (sender, receiver) = sync_channel(AHEAD);
        std::thread::spawn(move || {
            for indices in order.chunks(batch) {
                // An error here means that nobody waits for batches any more.
                if sender.send(Batch::read(dataset.as_ref(), indices, image_bytes)).is_err() {
                    return;
                }
            }
        });
        Loader(receiver)
    }

    /// The next batch, or `None` after the last.
    pub fn next_batch(&mut self) -> Option<Result<Batch>> {
        self.0.recv().ok()
    }

    /// The next batch of an order that is known to have one.
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
        let mut loader = Loader::new(dataset, vec![3, 1, 9, 0, 2], 2, 2);
        let mut batch = || loader.next_batch().map(|b| b.expect("in memory"));
        assert_eq!(batch(), Some(Batch { images: vec![6, 7, 2, 3], labels: vec![3, 1] }));
        assert_eq!(batch(), Some(Batch { images: vec![18, 19, 0, 1], labels: vec![9, 0] }));
        assert_eq!(batch(), Some(Batch { images: vec![4, 5], labels: vec![2] }));
        assert_eq!(batch(), None);
    }
}
