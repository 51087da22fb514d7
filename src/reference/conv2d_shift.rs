//! CPU twin of `shaders/conv2d_shift/`.

use super::integers::{pack, unpack};
use crate::kernels::conv2d_forward::Params as Conv;
use crate::kernels::conv2d_shift::Params;
use crate::method::codec;

/// y (N, P, Q, K) = ((sum << raise) m + b + 2^(s-1) + (residual << align)) >> s, between limits, of sums over x (N, H, W, C) and the codes w
/// (R, S, C / 4, K / 2). Sums are of i64.
pub fn conv2d_shift(p: &Params, x: &[u32], w: &[u32], requant: &[u32], residual: &[u32], y: &mut [u32]) {
    let [w_len, c_len, q_len, k_len] = [p.w, p.c, p.q, p.k].map(|x| x as usize);
    let conv = Conv {
        k: p.k,
        ..Conv::new([p.n, p.h, p.w, p.c].map(|x| x as usize), k_len, p.r as usize, p.stride as usize)
    };
    let x = unpack(x, p.bits);
    let residual = if p.residual == 1 { unpack(residual, p.bits) } else { vec![] };
    let w = codec::from_nibbles(w, k_len);
    let table = |row: usize, k: usize| i64::from(requant[row * k_len + k] as i32);
    let mut values = vec![0; p.outputs()];
    for (pixel, out) in values.chunks_exact_mut(k_len).enumerate() {
        let (row, q) = (pixel / q_len, pixel % q_len);
        let (n, p_row) = (row / p.p as usize, row % p.p as usize);
        let mut sums = vec![0i64; k_len];
        for (tap, h, column) in conv.taps(p_row, q) {
            let x = &x[((n * p.h as usize + h) * w_len + column) * c_len..][..c_len];
            for (c, &x) in x.iter().enumerate() {
                for (sum, &w) in sums.iter_mut().zip(&w[(tap * c_len + c) * k_len..]) {
                    *sum += i64::from(x) * i64::from(w);
                }
            }
        }
        for (k, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            let mut total = (sum << p.raise) * table(0, k) + (table(1, k) << 16) + table(2, k);
            if p.residual == 1 {
                // In units of 2^16.
                total += (i64::from(residual[pixel * k_len + k]) << p.align) >> 16 << 16;
            }
            let [least, most] = p.limits();
            *out = (total >> p.shift).clamp(least, most) as i32;
        }
    }
    y.copy_from_slice(&pack(&values, p.bits));
}
