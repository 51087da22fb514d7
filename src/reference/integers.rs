//! Integer activations as the kernels lay them out: 8 or 16 bits, low bits first.

/// The values of words.
pub fn unpack(words: &[u32], bits: u32) -> Vec<i32> {
    let values = |word: &u32| {
        let word = *word;
        (0..32 / bits).map(move |i| (word << (32 - bits * (i + 1))) as i32 >> (32 - bits))
    };
    words.iter().flat_map(values).collect()
}

/// The words of values.
pub fn pack(values: &[i32], bits: u32) -> Vec<u32> {
    let mask = u32::MAX >> (32 - bits);
    let word = |values: &[i32]| {
        values.iter().enumerate().fold(0, |word, (i, &v)| word | (v as u32 & mask) << (bits * i as u32))
    };
    values.chunks(32 / bits as usize).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let values = [-128, 127, -1, 0, 5, -6, 100, -100];
        assert_eq!(pack(&values, 8), [0x00ff_7f80, 0x9c64_fa05]);
        for bits in [8, 16] {
            assert_eq!(unpack(&pack(&values, bits), bits), values);
        }
        assert_eq!(pack(&[-32768, 1], 16), [0x0001_8000]);
    }
}
