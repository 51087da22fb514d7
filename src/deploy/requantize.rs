//! How sums of integers become the next layer's integers, by integers alone.
//!
//! Activations are q 2^-e, with one exponent e a tensor. A folded convolution is y = scale sum + bias (+ residual), so that
//! q_y = sum (scale 2^(e_y - e_x)) + bias 2^(e_y) + q_r 2^(e_y - e_r). With 2^s of that as integers,
//!
//! q_y = ((sum << r) m + b + 2^(s-1) + (q_r << (s + e_y - e_r))) >> s,
//! m = round(scale 2^(e_y - e_x + s - r)), b = round(bias 2^(e_y + s)),
//!
//! rounded to the nearest, and cut to the range of its bits. r is 0, but where scales are so large that m would not fit; sums are
//! small there. Kernels add in two parts, high 2^16 + low, so that all of it is exact with 32-bit integers where the largest
//! sums are what [`requantize`] checks.

use super::{Conv, unfit};
use crate::error::Result;

/// The exponents of a convolution's tensors.
#[derive(Clone, Copy, Debug)]
pub struct Exponents {
    pub x: i32,
    pub y: i32,
    pub residual: Option<i32>,
}

/// What a convolution of integers is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Requantization {
    /// r.
    pub raise: u32,
    /// s.
    pub shift: u32,
    /// s + e_y - e_r, at least 0; 16 without a residual. Below 16 kernels drop what is below 2^16.
    pub align: u32,
    /// (3, K): m, and b + 2^(s-1) as its high bits and its low 16.
    pub table: Vec<u32>,
}

/// The most precise integers for `conv` (of layer `name`) on activations of `bits`: the largest s for which nothing overflows.
///
/// # Errors
/// [`crate::Error::Arithmetic`] where a sum could leave an i32, or where there is no s.
pub fn requantize(name: &str, conv: &Conv, bits: u32, exponents: Exponents) -> Result<Requantization> {
    let largest = (1i64 << (bits - 1)) as f64;
    let sum = conv.largest_sum() * largest;
    if sum >= 2f64.powi(31) {
        let problem = format!("a sum of {bits}-bit activations can reach {sum:.2e}, and an i32 ends at 2^31");
        return Err(unfit(name, problem));
    }
    let plain = (16..=40).rev().map(|shift| (0, shift));
    let raised = (1..=15).map(|raise| (raise, 16));
    let found = plain.chain(raised).find_map(|way| at(conv, bits, exponents, sum as i64, way));
    found.ok_or_else(|| {
        unfit(
            name,
            format!(
                "its scales leave the range of {bits}-bit activations; other images may calibrate it better"
            ),
        )
    })
}

/// The integers at one r and s; none where something overflows.
fn at(conv: &Conv, bits: u32, e: Exponents, sum: i64, (raise, shift): (u32, u32)) -> Option<Requantization> {
    // Of a residual in units far finer than y's nothing is left.
    let align = e.residual.map_or(16, |r| (shift as i32 + e.y - r).max(0) as u32);
    let sum = sum << raise;
    if align > 46 - bits || sum >= 1 << 31 {
        return None;
    }
    let residual = e.residual.map_or(0, |_| 1i64 << (bits - 1 + align.max(16) - 16));
    let mut table = [vec![], vec![], vec![]];
    for (&scale, &bias) in conv.scale.iter().zip(&conv.bias) {
        let m = (f64::from(scale) * 2f64.powi(e.y - e.x + shift as i32 - raise as i32)).round();
        let b = (f64::from(bias) * 2f64.powi(e.y + shift as i32)).round();
        // Also false for NaN.
        if !(m.abs() < 32_768.0 && b.abs() < 2f64.powi(46)) {
            return None;
        }
        let (m, b) = (m as i64, b as i64 + (1 << (shift - 1)));
        let high = ((sum >> 16) + 1) * m.abs() + (b >> 16).abs() + residual + (1 << 16);
        if high >= 1 << 31 {
            return None;
        }
        let words = [m as i32, (b >> 16) as i32, (b & 0xffff) as i32];
        table.iter_mut().zip(words).for_each(|(column, word)| column.push(word as u32));
    }
    Some(Requantization { raise, shift, align, table: table.concat() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(scale: f32, bias: f32) -> Conv {
        Conv {
            weight: vec![1.0, -4.0, 2.0, 0.0],
            shape: [1, 4, 1, 1],
            scale: vec![scale],
            bias: vec![bias],
            discrete: true,
        }
    }

    /// The integers stand for the numbers that they came from, to half a unit and what m is rounded by.
    #[test]
    fn stands_for_scale_and_bias() {
        for (scale, bias, e) in [
            (0.013, 0.25, Exponents { x: 4, y: 5, residual: None }),
            (-0.2, -3.0, Exponents { x: 6, y: 3, residual: Some(5) }),
            (1e-5, 0.0, Exponents { x: 2, y: 7, residual: Some(7) }),
            // A residual in units finer than what is kept of it.
            (0.004, 1.0, Exponents { x: 5, y: -4, residual: Some(9) }),
            // More than m holds at s = 16.
            (0.7, 1.0, Exponents { x: 4, y: 5, residual: Some(4) }),
        ] {
            for bits in [8, 16] {
                let r = requantize("layer", &conv(scale, bias), bits, e).expect("it fits");
                let [m, high, low] = r.table[..] else { panic!("three words a channel") };
                let b = (i64::from(high as i32) << 16) + i64::from(low);
                for (sum, q) in [(0i64, 0i64), (700, 100), (-801, -128), (3, 77)] {
                    let q = if e.residual.is_some() { q } else { 0 };
                    let added = (q << r.align) >> 16 << 16;
                    let got = ((sum << r.raise) * i64::from(m as i32) + b + added) >> r.shift;
                    let real = f64::from(scale) * sum as f64 * 2f64.powi(-e.x)
                        + f64::from(bias)
                        + q as f64 * 2f64.powi(-e.residual.unwrap_or(0));
                    let exact = real * 2f64.powi(e.y);
                    let dropped = if r.align < 16 { 2f64.powi(16 - r.shift as i32) } else { 0.0 };
                    let bound = 0.5
                        + dropped
                        + sum.abs() as f64 * 2f64.powi(r.raise as i32 - r.shift as i32 - 1)
                        + 1e-3;
                    assert!((got as f64 - exact).abs() <= bound, "{got} for {exact}, bound {bound}, {e:?}");
                }
            }
        }
    }

    /// As many bits of the scales as fit are kept.
    #[test]
    fn as_precise_as_can_be() {
        let of = |scale, bias, x, y| {
            let e = Exponents { x, y, residual: None };
            let r = requantize("layer", &conv(scale, bias), 8, e).expect("it fits");
            (r.raise, r.shift, r.table[0])
        };
        // 2^21 of 0.013 are 27,263; twice as many would be no i16.
        assert_eq!(of(0.013, 0.25, 4, 5), (0, 20, 27_263));
        // 2^15 of 1 is one too many.
        assert_eq!(of(1.0, 0.0, 0, 0), (2, 16, 1 << 14));
        assert_eq!(of(0.99, 0.0, 0, 0), (1, 16, 32_440));
        // 2^40 of 1e-9; no more are asked for.
        assert_eq!(of(1e-9, 0.0, 0, 0), (0, 40, 1100));
        // The bias decides: 2^46 of it would leave its two words.
        assert_eq!(of(1e-9, 100.0, 0, 0), (0, 39, 550));
    }

    /// Whatever the scales, and at the ends of all ranges: what kernels keep in 32 bits fits in them.
    #[test]
    fn nothing_overflows() {
        let mut draws = crate::rng::Draws::new(9, crate::rng::Stream::Synthetic, 0, 0);
        let mut found = 0;
        for _ in 0..20_000 {
            let mut exponent = || draws.below(20) as i32 - 4;
            let e = Exponents { x: exponent(), y: exponent(), residual: Some(exponent()) };
            let bits = [8, 16][draws.below(2) as usize];
            let scale = 2f32.powf(draws.range(-16.0, 4.0)) * draws.normal();
            let mut conv = conv(scale, 4.0 * draws.normal() * 2f32.powf(draws.range(-16.0, 4.0)));
            conv.weight =
                (0..4 << draws.below(12)).map(|_| [64.0, -4.0, 1.0][draws.below(3) as usize]).collect();
            if draws.below(2) == 0 {
                // Sums, multiplier and bias that are at their ends together.
                conv.weight = vec![64.0; 1000 + draws.below(23) as usize];
                conv.bias = vec![scale * 2f32.powi(31 - e.x) * draws.range(-1.5, 1.5)];
            }
            conv.shape = [1, conv.weight.len(), 1, 1];
            let Ok(r) = requantize("", &conv, bits, e) else { continue };
            found += 1;
            let [m, high, low] = [0, 1, 2].map(|i| i64::from(r.table[i] as i32));
            let largest = 1i64 << (bits - 1);
            let sum = (conv.largest_sum() as i64 * largest) << r.raise;
            for (sum, q) in [(sum, largest - 1), (-sum, -largest), (sum, -largest), (-sum, largest - 1)] {
                let low = (sum & 0xffff) * m + low;
                let added = if r.align >= 16 { q << (r.align - 16) } else { q >> (16 - r.align) };
                let high = (sum >> 16) * m + high + (low >> 16) + added;
                for value in [sum, low, (sum >> 16) * m, high] {
                    assert!(i32::try_from(value).is_ok(), "{value}: {r:?}, {conv:?}, {e:?}");
                }
            }
        }
        assert!(found > 5000, "{found}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let e = Exponents { x: 0, y: 0, residual: None };
        let say = |conv: &Conv, bits| {
            requantize("layer2.0.conv1", conv, bits, e).expect_err("too large").to_string()
        };
        let mut large = conv(1e-3, 0.0);
        large.weight = vec![64.0; 1024];
        large.shape = [1, 1024, 1, 1];
        let message = say(&large, 16);
        assert!(message.contains("layer2.0.conv1") && message.contains("2^31"), "{message}");
        assert!(requantize("", &large, 8, e).is_ok());
        assert!(say(&conv(3e6, 0.0), 8).contains("layer2.0.conv1"));
        assert!(say(&conv(f32::NAN, 0.0), 8).contains("layer2.0.conv1"));
    }
}
