//! Discrete weights as codes of a few bits.
//!
//! A weight of an alphabet {0, ±1, ±2, ... ±2^T} is a sign and a magnitude: 0 for 0, else 1 + log2 |w|. Codes of 4 bits, 8 to a
//! word, are what convolution kernels decode; they hold what fits an i8, T <= 6.

/// The code of 4 bits of a weight: 8 where it is negative, plus its magnitude. None where it has no such code.
pub fn nibble(weight: f32) -> Option<u32> {
    if weight == 0.0 {
        return Some(0);
    }
    let magnitude = (0..=6).find(|&t| weight.abs() == (1u32 << t) as f32)? + 1;
    Some(u32::from(weight < 0.0) << 3 | magnitude)
}

/// The weight of a code of 4 bits.
pub fn of_nibble(code: u32) -> i8 {
    let magnitude = (1i32 << (code & 7)) >> 1;
    (if code & 8 == 0 { magnitude } else { -magnitude }) as i8
}

/// Weights (entries, 4, K) as words (entries, K / 2), 8 codes each: byte j is of row j of the 4, its low half of the even
/// column and its high half of the odd one. None where a weight has no code.
pub fn nibbles(weights: &[f32], k: usize) -> Option<Vec<u32>> {
    let mut words = Vec::with_capacity(weights.len() / 8);
    for entry in weights.chunks_exact(4 * k) {
        for column in (0..k).step_by(2) {
            let mut word = 0;
            for row in 0..4 {
                for odd in 0..2 {
                    word |= nibble(entry[row * k + column + odd])? << (8 * row + 4 * odd);
                }
            }
            words.push(word);
        }
    }
    Some(words)
}

/// The weights (entries, 4, K) of words (entries, K / 2).
pub fn from_nibbles(words: &[u32], k: usize) -> Vec<i8> {
    let mut weights = vec![0; words.len() * 8];
    for (entry, words) in weights.chunks_exact_mut(4 * k).zip(words.chunks_exact(k / 2)) {
        for (pair, word) in words.iter().enumerate() {
            for row in 0..4 {
                for odd in 0..2 {
                    entry[row * k + 2 * pair + odd] = of_nibble(word >> (8 * row + 4 * odd) & 15);
                }
            }
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_four_bits() {
        for code in (0..16).filter(|&code| code != 8) {
            assert_eq!(nibble(f32::from(of_nibble(code))), Some(code));
        }
        assert_eq!([0.0, 1.0, -1.0, 4.0, -64.0].map(nibble), [Some(0), Some(1), Some(9), Some(3), Some(15)]);
        assert_eq!(nibble(-0.0), Some(0));
        for none in [128.0, 3.0, 0.5, f32::NAN, f32::INFINITY] {
            assert_eq!(nibble(none), None, "{none}");
        }
    }

    #[test]
    fn words_hold_what_the_shaders_read() {
        // One entry of 4 channels for 4 columns; rows are channels.
        let weights = [1., 2., 4., 8., -1., -2., -4., -8., 0., 0., 0., 64., 16., 32., 0., -64.];
        let words = nibbles(&weights, 4).expect("all have codes");
        assert_eq!(words, [0x65_00_a9_21, 0xf0_70_cb_43]);
        assert_eq!(from_nibbles(&words, 4), weights.map(|w| w as i8));
        assert_eq!(nibbles(&[3.0; 16], 4), None);
    }
}
