//! The counter-based random generator: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As
//! Easy as 1, 2, 3", SC 2011). A number depends on (seed, stream, step, index) alone, so the host,
//! the kernels (`shaders/shared/philox.wgsl`) and a resumed run all draw the same.

/// What a number is drawn for. Equal seeds give unrelated numbers in different streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// Initial values; `step` is the parameter's number.
    Init = 1,
    /// The order of the training images; `step` is the epoch.
    Shuffle = 2,
    /// Crop and flip; `step` is the training step, `index` the image's place in the batch.
    Augment = 3,
    /// The synthetic images; `step` is the split, `index` the image's number.
    Synthetic = 4,
    /// Crop and flip of an image folder's images; `step` is the epoch, `index` the image's number.
    Crop = 5,
}

/// One block of Philox4x32-10: 128 random bits for a 64-bit `key` and a 128-bit `counter`.
pub fn philox(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let [mut k0, mut k1] = key;
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    for _ in 0..10 {
        let p0 = u64::from(c0) * 0xD251_1F53;
        let p1 = u64::from(c2) * 0xCD9E_8D57;
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

/// The key of a seed: low word, high word.
pub fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// 128 random bits for (seed, stream, step, index): what the kernels draw too.
pub fn draw(seed: u64, stream: Stream, step: u32, index: u32) -> [u32; 4] {
    philox(key(seed), [index, step, stream as u32, 0])
}

/// Successive numbers of one (seed, stream, step, index): the counter's last word counts blocks.
#[derive(Clone, Debug)]
pub struct Draws {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Draws {
    /// The numbers of (seed, stream, step, index), from the first on.
    pub fn new(seed: u64, stream: Stream, step: u32, index: u32) -> Self {
        Self { key: key(seed), counter: [index, step, stream as u32, 0], block: [0; 4], used: 4 }
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.key, self.counter);
            self.counter[3] = self.counter[3].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Uniform in [0, 1): 24 bits, exact in f32.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in 0..n, n > 0 (multiply and shift; the bias is below n / 2^32).
    pub fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(n)) >> 32) as u32
    }

    /// Standard normal (Box–Muller, one of the pair).
    pub fn normal(&mut self) -> f32 {
        let u = (f64::from(self.bits()) + 1.0) / 4_294_967_296.0;
        let v = f64::from(self.bits()) / 4_294_967_296.0;
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// A random order of `0..n` (Fisher–Yates).
    pub fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i as usize, self.below(i + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (kat_vectors, philox4x32 10 rounds).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 2], [u32::MAX; 4]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn normal_has_mean_0_and_variance_1() {
        let mut draws = Draws::new(7, Stream::Init, 3, 0);
        let values: Vec<f64> = (0..20_000).map(|_| f64::from(draws.normal())).collect();
        let mean = values.iter().sum::<f64>() / 20_000.0;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn both_halves_of_the_seed_count() {
        let a = draw(1, Stream::Shuffle, 0, 0);
        assert_ne!(a, draw(1 | 1 << 40, Stream::Shuffle, 0, 0));
        assert_ne!(a, draw(1, Stream::Augment, 0, 0));
        let order = Draws::new(1, Stream::Shuffle, 0, 0).permutation(100);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(order, sorted);
    }
}
