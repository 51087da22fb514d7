//! The ordered second stage of the weight gradients.

use crate::kernels::BLOCK;
use crate::kernels::sum_partials::Params;
use rayon::prelude::*;

/// Blocks of a task.
const TASK: usize = 16;

/// y = for each block of 64 with a row in the table, the sum of its parts of partial, plus y's old value where asked.
pub fn sum_partials(p: &Params, table: &[u32], partial: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(BLOCK * TASK).zip(table.par_chunks(4 * TASK)).for_each(|(y, table)| {
        for (row, y) in table.chunks(4).zip(y.chunks_mut(BLOCK)) {
            let [first, stride, splits, quads] = [0, 1, 2, 3].map(|i| row[i] as usize);
            if splits == 0 {
                continue;
            }
            let y = &mut y[..quads * 4];
            let mut sums = [0.0f64; BLOCK];
            if p.accumulate == 1 {
                sums.iter_mut().zip(&*y).for_each(|(sum, &old)| *sum = f64::from(old));
            }
            for split in 0..splits {
                let part = &partial[(first + split * stride) * 4..][..y.len()];
                sums.iter_mut().zip(part).for_each(|(sum, &part)| *sum += f64::from(part));
            }
            y.iter_mut().zip(&sums).for_each(|(y, &sum)| *y = sum as f32);
        }
    });
}
