//! The part of an image that some pixels of a convolution read, with the padding around it.

use super::tile::Pixel;
use std::cell::Cell;

thread_local! {
    pub static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { padded: vec![], pixels: vec![] }) };
}

/// What a task reuses of the ones before it.
#[derive(Default)]
pub struct Scratch {
    pub padded: Vec<f32>,
    pub pixels: Vec<Pixel>,
}

/// Rows of an image's pixels, padding included.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The image (H, W, C).
    pub image: [usize; 3],
    /// Row and column of the first pixel; negative ones are padding, as are those past the image.
    pub first: [isize; 2],
    pub rows: usize,
    /// Pixels a row.
    pub width: usize,
}

impl Window {
    /// Elements from one row to the next.
    pub fn pitch(&self) -> usize {
        self.width * self.image[2]
    }

    /// The window (rows, width, C) of `image`: in place where it needs no padding, else copied to `padded`.
    pub fn of<'a>(&self, image: &'a [f32], padded: &'a mut Vec<f32>) -> &'a [f32] {
        let [h, w, _] = self.image;
        let end = self.first[0] + self.rows as isize;
        if self.first[0] >= 0 && end <= h as isize && self.first[1] == 0 && self.width == w {
            return &image[self.first[0] as usize * self.pitch()..][..self.rows * self.pitch()];
        }
        let len = self.rows * self.pitch();
        if padded.len() < len {
            padded.resize(len, 0.0);
        }
        self.copy(image, &mut padded[..len]);
        &padded[..len]
    }

    /// Copies the window of `image` to `out` (rows, width, C), with zeros where the image has no pixels.
    pub fn copy(&self, image: &[f32], out: &mut [f32]) {
        let [h, w, c] = self.image;
        let skipped = self.first[1].max(0) as usize;
        // Columns of the window that are in the image.
        let begin = ((-self.first[1]).max(0) as usize).min(self.width);
        let end = (begin + w.saturating_sub(skipped)).min(self.width);
        for (i, out) in out.chunks_exact_mut(self.pitch()).enumerate() {
            match usize::try_from(self.first[0] + i as isize) {
                Ok(row) if row < h => {
                    out[..begin * c].fill(0.0);
                    let from = &image[(row * w + skipped.min(w)) * c..];
                    out[begin * c..end * c].copy_from_slice(&from[..(end - begin) * c]);
                    out[end * c..].fill(0.0);
                }
                _ => out.fill(0.0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Window;

    /// An image of 2 x 3 pixels of one channel, with a row above, a column before it, and more than it has behind.
    #[test]
    fn what_is_outside_is_zero() {
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut padded = vec![9.0; 100];
        let mut window = Window { image: [2, 3, 1], first: [-1, -1], rows: 4, width: 6 };
        let expected = [[0.0; 6], [0.0, 1.0, 2.0, 3.0, 0.0, 0.0], [0.0, 4.0, 5.0, 6.0, 0.0, 0.0], [0.0; 6]];
        assert_eq!(window.of(&image, &mut padded), expected.concat());
        window = Window { first: [1, 1], rows: 1, width: 3, ..window };
        assert_eq!(window.of(&image, &mut padded), [5.0, 6.0, 0.0]);
        window = Window { first: [0, -2], rows: 1, width: 1, ..window };
        assert_eq!(window.of(&image, &mut padded), [0.0]);
    }

    #[test]
    fn whole_rows_are_read_in_place() {
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let window = Window { image: [3, 2, 1], first: [1, 0], rows: 2, width: 2 };
        let mut padded = vec![];
        assert_eq!(window.of(&image, &mut padded), [3.0, 4.0, 5.0, 6.0]);
        assert!(padded.is_empty());
    }
}
