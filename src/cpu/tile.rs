//! The two inner loops of the convolutions: tiles of 6 (or 4) x 16 sums that stay in registers.

use super::lanes::{LANES, Lanes, multiply_add};
use rayon::prelude::*;

/// Columns of a matrix in panels of 16, one panel after the other: (columns / 16, rows, 16), the last filled with zeros.
#[derive(Default)]
pub struct Panels {
    lanes: Vec<Lanes>,
    rows: usize,
    columns: usize,
}

impl Panels {
    pub const EMPTY: Panels = Panels { lanes: vec![], rows: 0, columns: 0 };

    /// Makes room for (rows, columns) and lets `fill(panel, lanes)` write each panel (rows, 16), which holds zeros.
    pub fn new(rows: usize, columns: usize, fill: impl Fn(usize, &mut [Lanes]) + Sync) -> Panels {
        let mut lanes = vec![[0.0; LANES]; columns.div_ceil(LANES) * rows];
        if rows > 0 {
            lanes.par_chunks_exact_mut(rows).enumerate().for_each(|(panel, lanes)| fill(panel, lanes));
        }
        Panels { lanes, rows, columns }
    }

    /// The panels of `matrix` (rows, columns).
    pub fn of(matrix: &[f32], columns: usize) -> Panels {
        Panels::new(matrix.len() / columns, columns, |panel, lanes| fill(matrix, columns, panel, lanes))
    }

    /// Replaces the contents by the panels of `matrix` (rows, columns).
    pub fn refill(&mut self, matrix: &[f32], columns: usize) {
        (self.rows, self.columns) = (matrix.len() / columns, columns);
        self.lanes.resize(columns.div_ceil(LANES) * self.rows, [0.0; LANES]);
        for (panel, lanes) in self.lanes.chunks_exact_mut(self.rows).enumerate() {
            fill(matrix, columns, panel, lanes);
        }
    }

    /// The largest sum of a column's magnitudes.
    pub fn largest_sum(&self) -> f32 {
        let sums = |lanes: &[Lanes]| {
            lanes.iter().fold([0.0; LANES], |sums, row| std::array::from_fn(|i| sums[i] + row[i].abs()))
        };
        self.iter().flat_map(|(_, _, lanes)| sums(lanes)).fold(0.0, f32::max)
    }

    /// Each panel (rows, 16) with its first column and how many there are.
    #[inline(always)]
    fn iter(&self) -> impl Iterator<Item = (usize, usize, &[Lanes])> {
        let panels = self.lanes.chunks_exact(self.rows).enumerate();
        panels.map(|(i, lanes)| (i * LANES, LANES.min(self.columns - i * LANES), lanes))
    }
}

fn fill(matrix: &[f32], columns: usize, panel: usize, lanes: &mut [Lanes]) {
    let first = panel * LANES;
    let width = LANES.min(columns - first);
    for (row, lanes) in matrix.chunks_exact(columns).zip(lanes) {
        match row[first..].first_chunk() {
            Some(whole) => *lanes = *whole,
            None => {
                *lanes = [0.0; LANES];
                lanes[..width].copy_from_slice(&row[first..]);
            }
        }
    }
}

/// Where a pixel's sum is read from and written to, as offsets in the source and the result.
#[derive(Clone, Copy)]
pub struct Pixel {
    pub from: usize,
    pub to: usize,
}

vectorized! {
    /// y[pixel.to ..][k] = sum over runs and l < len of x[pixel.from + run * pitch + l] w[run * len + l][k], where `w`
    /// has `runs * len` rows.
    pub fn correlate(x: &[f32], pixels: &[Pixel], pitch: usize, len: usize, w: &Panels, y: &mut [f32]) {
        for (first, width, w) in w.iter() {
            for pixels in pixels.chunks(6) {
                match pixels.len() {
                    5.. => pixel_tile::<FMA, 6>(x, pixels, pitch, len, w, first, width, y),
                    _ => pixel_tile::<FMA, 4>(x, pixels, pitch, len, w, first, width, y),
                }
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn pixel_tile<const FMA: bool, const PIXELS: usize>(
    x: &[f32],
    pixels: &[Pixel],
    pitch: usize,
    len: usize,
    w: &[Lanes],
    first: usize,
    width: usize,
    y: &mut [f32],
) {
    // Where there are fewer, the last one is computed again.
    let from: [usize; PIXELS] = std::array::from_fn(|i| pixels[i.min(pixels.len() - 1)].from);
    let mut sums = [[0.0; LANES]; PIXELS];
    for (run, w) in w.chunks_exact(len).enumerate() {
        let x: [&[f32]; PIXELS] = std::array::from_fn(|i| &x[from[i] + run * pitch..][..len]);
        for l in 0..len {
            for i in 0..PIXELS {
                for lane in 0..LANES {
                    sums[i][lane] = multiply_add::<FMA>(x[i][l], w[l][lane], sums[i][lane]);
                }
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        if let Some(pixel) = pixels.get(i) {
            put(sums, &mut y[pixel.to + first..][..width], |y, sum| *y = sum);
        }
    }
}

/// put(y, sum) for the first 4, 8, 12 or 16 lanes. A tile's sums are only read at constant places, and by loops of
/// constant length, or they would not stay in registers.
#[inline(always)]
pub(super) fn put<T: Copy>(sums: &[T; LANES], y: &mut [T], put: impl Fn(&mut T, T)) {
    for i in (0..LANES).step_by(4) {
        if let Some(y) = y.get_mut(i..i + 4) {
            for (lane, y) in y.iter_mut().enumerate() {
                put(y, sums[i + lane]);
            }
        }
    }
}

/// Rows of pixels: pixel q of row i is `rows[i] + q * step`.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub x: &'a [f32],
    pub rows: &'a [usize],
    pub step: usize,
    /// Pixels a row.
    pub width: usize,
}

vectorized! {
    /// dw[run * len + l][k] += sum over the pixels of x[pixel + run * pitch + l] dy[pixel][k], for l < len, `dw`
    /// (runs, len, K), `dy` (pixels, K) and len a multiple of 4.
    pub fn outer(x: Rows, pitch: usize, len: usize, dy: &Panels, dw: &mut [f32]) {
        // 6 rows a tile, but 4 in the last or the last two.
        let sixes = match len % 6 {
            2 => len - 8,
            rest => len - rest,
        };
        let columns = dy.columns;
        for (first, width, dy) in dy.iter() {
            for (run, dw) in dw.chunks_exact_mut(len * columns).enumerate() {
                let mut l = 0;
                while l < len {
                    let dw = &mut dw[l * columns + first..];
                    if l < sixes {
                        row_tile::<FMA, 6>(x, run * pitch + l, dy, dw, columns, width);
                        l += 6;
                    } else {
                        row_tile::<FMA, 4>(x, run * pitch + l, dy, dw, columns, width);
                        l += 4;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn row_tile<const FMA: bool, const ROWS: usize>(
    x: Rows,
    offset: usize,
    dy: &[Lanes],
    dw: &mut [f32],
    columns: usize,
    width: usize,
) {
    let mut sums = [[0.0; LANES]; ROWS];
    for (&row, dy) in x.rows.iter().zip(dy.chunks_exact(x.width)) {
        let pixels = &x.x[row + offset..][..(x.width - 1) * x.step + ROWS];
        for q in 0..x.width {
            let pixel: &[f32; ROWS] = pixels[q * x.step..].first_chunk().expect("the row is long enough");
            for (sums, x) in sums.iter_mut().zip(pixel) {
                for (sum, d) in sums.iter_mut().zip(dy[q]) {
                    *sum = multiply_add::<FMA>(*x, d, *sum);
                }
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        put(sums, &mut dw[i * columns..][..width], |dw, sum| *dw += sum);
    }
}
