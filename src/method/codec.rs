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
/// column and its high half of the odd one. None where a weight has no code, where K is odd or 0, and where the weights are no whole
/// entries.
pub fn nibbles(weights: &[f32], k: usize) -> Option<Vec<u32>> {
    if k == 0 || !k.is_multiple_of(2) || !weights.len().is_multiple_of(4 * k) {
        return None;
    }
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
///
/// # Panics
/// Where K is odd or 0, or the words are no whole entries.
pub fn from_nibbles(words: &[u32], k: usize) -> Vec<i8> {
    assert!(
        k > 0 && k.is_multiple_of(2) && words.len().is_multiple_of(k / 2),
        "whole entries of {k} columns"
    );
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

/// The discrete values of a weight family: ±2^t, t from `lowest` on, and perhaps 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alphabet {
    /// Bits of a code.
    pub bits: u32,
    /// Whether 0 is one of them.
    pub zero: bool,
    /// The exponent of the smallest power of two; none where each layer has its own, by its largest weight.
    pub lowest: Option<i32>,
    /// How many powers of two there are.
    pub levels: u32,
}

impl Alphabet {
    /// The exponent of the smallest power of two of a layer with these weights.
    pub fn lowest_of(&self, weights: &[f32]) -> i32 {
        self.lowest.unwrap_or_else(|| {
            let most = weights.iter().fold(0.0f32, |most, w| most.max(w.abs()));
            // A layer of zeros is content with any, and one that is not finite with none.
            let exponent =
                if most > 0.0 && most.is_finite() { most.log2().round() as i32 } else { return 0 };
            exponent + 1 - self.levels as i32
        })
    }

    /// `weights` of a layer as multiples of its smallest power of two, and the exponent of that.
    pub fn scaled(&self, weights: &[f32]) -> (Vec<f32>, i32) {
        let lowest = self.lowest_of(weights);
        let up = f64::from(-lowest).exp2();
        (weights.iter().map(|&w| (f64::from(w) * up) as f32).collect(), lowest)
    }

    /// Whether all weights of a layer are of the alphabet.
    pub fn holds(&self, weights: &[f32]) -> bool {
        self.scaled(weights).0.iter().all(|&w| self.code(w).is_some())
    }

    /// t of a weight ±2^t, t from 0 on: none for 0, and for what is not of the alphabet.
    pub fn level(&self, weight: f32) -> Option<u32> {
        (0..self.levels).find(|&t| weight.abs() == (1u64 << t) as f32)
    }

    /// The code of a weight that is a multiple of the smallest power of two: its sign as the highest bit, and its magnitude.
    /// Where there is a 0, it is magnitude 0, and 2^t is t + 1; else 2^t is t. None where it has no such code.
    pub fn code(&self, weight: f32) -> Option<u32> {
        if weight == 0.0 {
            return self.zero.then_some(0);
        }
        let magnitude = self.level(weight)? + u32::from(self.zero);
        Some(u32::from(weight < 0.0) << (self.bits - 1) | magnitude)
    }

    /// The weight of a code. None for the code of a negative 0 and of a power of two that no weight has.
    pub fn of_code(&self, code: u32) -> Option<f32> {
        let negative = code >> (self.bits - 1) == 1;
        let magnitude = code & ((1 << (self.bits - 1)) - 1);
        if self.zero && magnitude == 0 {
            return (!negative).then_some(0.0);
        }
        let t = magnitude - u32::from(self.zero);
        let weight = (1u64 << t.min(63)) as f32;
        (t < self.levels).then_some(if negative { -weight } else { weight })
    }

    /// Words of a row of `len` codes as planes: see [`Alphabet::planes`].
    pub fn plane_words(&self, len: usize) -> usize {
        len.div_ceil(32) * self.bits as usize
    }

    /// Rows of `len` weights as bit planes: for each 32 weights of a row (the last filled with zero bits) a word a bit, of which
    /// word j has bit j of each code, the first weight's lowest. None where a weight has no code, and where the weights are no whole
    /// rows.
    pub fn planes(&self, weights: &[f32], len: usize) -> Option<Vec<u32>> {
        if len == 0 || !weights.len().is_multiple_of(len) {
            return None;
        }
        let mut words = Vec::with_capacity(weights.len() / len * self.plane_words(len));
        for row in weights.chunks_exact(len) {
            for block in row.chunks(32) {
                let codes = block.iter().map(|&w| self.code(w)).collect::<Option<Vec<u32>>>()?;
                let plane =
                    |j: u32| codes.iter().enumerate().fold(0, |word, (i, code)| word | (code >> j & 1) << i);
                words.extend((0..self.bits).map(plane));
            }
        }
        Some(words)
    }

    /// The rows of `len` weights of bit planes.
    ///
    /// # Errors
    /// What is wrong with the first word that no weights make, or with their number.
    pub fn from_planes(&self, words: &[u32], len: usize) -> Result<Vec<f32>, String> {
        if len == 0 || !words.len().is_multiple_of(self.plane_words(len)) {
            return Err(format!("has {} words, which are no whole rows of {len} weights", words.len()));
        }
        let bits = self.bits as usize;
        let mut weights = Vec::with_capacity(words.len() * 32 / bits);
        for row in words.chunks_exact(self.plane_words(len)) {
            for (block, planes) in row.chunks_exact(bits).enumerate() {
                let count = (len - block * 32).min(32);
                for i in 0..32 {
                    let code =
                        planes.iter().enumerate().fold(0, |code, (j, word)| code | (word >> i & 1) << j);
                    match self.of_code(code) {
                        _ if i >= count && code == 0 => {}
                        _ if i >= count => return Err("has weights behind the end of a row".into()),
                        Some(weight) => weights.push(weight),
                        None => return Err("has a code that no weight has".into()),
                    }
                }
            }
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a 0: S³'s alphabet at each of its bits.
    fn s3(bits: u32) -> Alphabet {
        Alphabet { bits, zero: true, lowest: Some(0), levels: (1 << (bits - 1)) - 1 }
    }

    #[test]
    fn codes_of_all_bits() {
        let without_zero = |bits: u32| Alphabet { zero: false, levels: 1 << (bits - 1), ..s3(bits) };
        let few = Alphabet { levels: 2, ..s3(3) };
        for alphabet in (2..=6).flat_map(|bits| [s3(bits), without_zero(bits)]).chain([few]) {
            let bits = alphabet.bits;
            let mut weights: Vec<f32> = (0..1 << bits).filter_map(|code| alphabet.of_code(code)).collect();
            assert_eq!(weights.len() as u32, 2 * alphabet.levels + u32::from(alphabet.zero));
            assert!(
                weights.iter().all(|&w| alphabet.code(w).and_then(|code| alphabet.of_code(code)) == Some(w))
            );
            assert_eq!(alphabet.code(weights.iter().fold(0.0, |a: f32, &b| a.max(b)) * 2.0), None);
            assert_eq!(alphabet.code(0.0).is_some(), alphabet.zero);
            // Rows of 7, 33 and 64, of which the codes are different in each block.
            for len in [7, 33, 64] {
                weights.rotate_left(3);
                let rows: Vec<f32> = weights.iter().copied().cycle().take(len * 3).collect();
                let words = alphabet.planes(&rows, len).expect("all have codes");
                assert_eq!(words.len(), 3 * alphabet.plane_words(len));
                assert_eq!(alphabet.from_planes(&words, len).as_ref(), Ok(&rows));
            }
        }
        assert_eq!(s3(3).planes(&[4.0, -2.0, 0.0], 3), Some(vec![0b001, 0b011, 0b010]));
        assert_eq!(without_zero(3).planes(&[8.0, -2.0, 1.0], 3), Some(vec![0b011, 0b001, 0b010]));
        assert_eq!(s3(3).planes(&[8.0], 1), None);
        for broken in [[1, 0, 2], [2, 0, 0], [0, 0, 1]] {
            assert!(s3(3).from_planes(&broken, 1).is_err());
        }
    }

    #[test]
    fn what_is_no_whole_number_of_rows_is_refused() {
        for (weights, len) in [(3, 2), (1, 2), (2, 0)] {
            assert_eq!(s3(3).planes(&vec![1.0; weights], len), None, "{weights} in rows of {len}");
        }
        for (words, len) in [(4, 2), (2, 33), (3, 0)] {
            let refused = s3(3).from_planes(&vec![0; words], len).expect_err("no whole rows");
            assert!(refused.contains("no whole rows"), "{refused}");
        }
        for (weights, k) in [(16, 3), (12, 4), (20, 4), (4, 0)] {
            assert_eq!(nibbles(&vec![1.0; weights], k), None, "{weights} of {k} columns");
        }
    }

    /// Layers are taken relative to their smallest power of two.
    #[test]
    fn layers_have_their_own_powers() {
        let inq = Alphabet { bits: 4, zero: true, lowest: None, levels: 4 };
        let layer = [0.25, -0.03125, 0.0, 0.0625];
        assert_eq!(inq.scaled(&layer), (vec![8.0, -1.0, 0.0, 2.0], -5));
        assert!(inq.holds(&layer) && inq.holds(&[0.0; 3]) && !inq.holds(&[0.25, 0.015625]));
        assert!(!inq.holds(&[0.25, 0.3]) && !inq.holds(&[0.25, f32::NAN]));
        assert!(!inq.holds(&[0.25, f32::INFINITY]) && inq.lowest_of(&[f32::INFINITY]) == 0);
        let shift_q = Alphabet { bits: 3, zero: false, lowest: Some(-3), levels: 4 };
        assert_eq!(shift_q.scaled(&[0.125, -1.0]), (vec![1.0, -8.0], -3));
        assert!(!shift_q.holds(&[2.0]) && !shift_q.holds(&[0.0]));
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
