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

/// The code of b bits of a weight: its sign as the highest bit, and its magnitude. None where it has no such code.
pub fn code(weight: f32, bits: u32) -> Option<u32> {
    if weight == 0.0 {
        return Some(0);
    }
    let most = (1 << (bits - 1)) - 2;
    let magnitude = (0..=most).find(|&t| weight.abs() == (1u32 << t) as f32)? + 1;
    Some(u32::from(weight < 0.0) << (bits - 1) | magnitude)
}

/// The weight of a code of b bits. None for the code of a negative 0, which no weight has.
pub fn of_code(code: u32, bits: u32) -> Option<f32> {
    let negative = code >> (bits - 1) == 1;
    match code & ((1 << (bits - 1)) - 1) {
        0 if negative => None,
        0 => Some(0.0),
        magnitude => {
            let weight = (1u32 << (magnitude - 1)) as f32;
            Some(if negative { -weight } else { weight })
        }
    }
}

/// Words of a row of `len` codes of `bits` as planes: see [`planes`].
pub fn plane_words(len: usize, bits: u32) -> usize {
    len.div_ceil(32) * bits as usize
}

/// Rows of `len` weights as bit planes: for each 32 weights of a row (the last filled with zeros) `bits` words, of which word j
/// has bit j of each code, the first weight's lowest. None where a weight has no code.
pub fn planes(weights: &[f32], len: usize, bits: u32) -> Option<Vec<u32>> {
    let mut words = Vec::with_capacity(weights.len() / len * plane_words(len, bits));
    for row in weights.chunks_exact(len) {
        for block in row.chunks(32) {
            let codes = block.iter().map(|&w| code(w, bits)).collect::<Option<Vec<u32>>>()?;
            let plane =
                |j: u32| codes.iter().enumerate().fold(0, |word, (i, code)| word | (code >> j & 1) << i);
            words.extend((0..bits).map(plane));
        }
    }
    Some(words)
}

/// The rows of `len` weights of bit planes.
///
/// # Errors
/// What is wrong with the first word that no weights make.
pub fn from_planes(words: &[u32], len: usize, bits: u32) -> Result<Vec<f32>, String> {
    let mut weights = Vec::with_capacity(words.len() * 32 / bits as usize);
    for row in words.chunks_exact(plane_words(len, bits)) {
        for (block, planes) in row.chunks_exact(bits as usize).enumerate() {
            let count = (len - block * 32).min(32);
            for i in 0..32 {
                let code = planes.iter().enumerate().fold(0, |code, (j, word)| code | (word >> i & 1) << j);
                match of_code(code, bits) {
                    Some(weight) if i < count => weights.push(weight),
                    Some(0.0) => {}
                    Some(_) => return Err("has weights behind the end of a row".into()),
                    None => return Err("has a code that no weight has".into()),
                }
            }
        }
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_all_bits() {
        for bits in 2..=5 {
            let mut weights: Vec<f32> = (0..1 << bits).filter_map(|code| of_code(code, bits)).collect();
            assert_eq!(weights.len(), (1 << bits) - 1);
            assert!(weights.iter().all(|&w| of_code(code(w, bits).expect("a weight"), bits) == Some(w)));
            assert_eq!(code(weights.iter().fold(0.0, |a: f32, &b| a.max(b)) * 2.0, bits), None);
            // Rows of 7, 33 and 64, of which the codes are different in each block.
            for len in [7, 33, 64] {
                weights.rotate_left(3);
                let rows: Vec<f32> = weights.iter().copied().cycle().take(len * 3).collect();
                let words = planes(&rows, len, bits).expect("all have codes");
                assert_eq!(words.len(), 3 * plane_words(len, bits));
                assert_eq!(from_planes(&words, len, bits).as_ref(), Ok(&rows));
            }
        }
        assert_eq!(planes(&[4.0, -2.0, 0.0], 3, 3), Some(vec![0b001, 0b011, 0b010]));
        assert_eq!(planes(&[8.0], 1, 3), None);
        assert!(from_planes(&[1, 0, 2], 1, 3).is_err());
        assert!(from_planes(&[2, 0, 0], 1, 3).is_err());
        assert!(from_planes(&[0, 0, 1], 1, 3).is_err());
    }

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
