//! The weight families: how the weights of the residual blocks' convolutions are represented and trained. Each is one file
//! here, with the mathematics of one weight, and one shader, `shaders/update/<family>.wgsl`, that does the same to all of them.

pub mod codec;
pub mod deepshift_ps;
pub mod deepshift_q;
pub mod denseshift;
pub mod fp32;
mod gates;
pub mod inq;
pub mod s3;
pub mod ternary;

use crate::error::{Error, Result};
use crate::rng::Draws;
pub use codec::Alphabet;

/// The method's name.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum MethodName {
    /// Sign-sparse-shift: weights 0, ±1, ±2, ±4 at 3 bits.
    #[default]
    S3,
    /// DenseShift: weights ±1, ±2, ±4, ±8 at 3 bits, none of them 0.
    #[value(name = "denseshift")]
    DenseShift,
    /// DeepShift-Q: weights rounded to a power of two.
    #[value(name = "deepshift-q")]
    #[serde(rename = "deepshift-q")]
    DeepShiftQ,
    /// DeepShift-PS: a sign and a shift, each rounded.
    #[value(name = "deepshift-ps")]
    #[serde(rename = "deepshift-ps")]
    DeepShiftPs,
    /// Incremental network quantization: the weights of a trained network, fixed share by share.
    Inq,
    /// Ternary weights: 0 where a weight is small in its layer, else ±1.
    Ternary,
    /// Full precision: the baseline.
    Fp32,
}

impl std::fmt::Display for MethodName {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        use clap::ValueEnum;
        f.write_str(self.to_possible_value().expect("every name can be given").get_name())
    }
}

/// Calls `$then!` with every family: its file, which is also its shader's name, and its type.
macro_rules! families {
    ($then:ident) => {
        $then! {
            s3: S3, denseshift: DenseShift, deepshift_q: DeepShiftQ, deepshift_ps: DeepShiftPs, inq: Inq, ternary: Ternary,
            fp32: Fp32,
        }
    };
}
pub(crate) use families;

/// How latents begin.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum InitName {
    /// The dense prior: every weight begins as ±1.
    #[default]
    Dense,
    /// All latents normal.
    Normal,
}

/// A method with its bits, which [`Method::new`] checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    pub(crate) name: MethodName,
    pub(crate) bits: u32,
}

/// A weight family. The latents of a weight are f32 values in the order of their planes, of which the first carries the
/// weight's sign.
pub trait Family: Send + Sync {
    /// The kernel that updates it: the name of its shader, and `_update`.
    fn kernel(&self) -> &'static str;

    /// What its kernel has to know of the bits.
    fn form(&self) -> u32;

    /// The family of a kernel's `form`.
    fn of_form(form: u32) -> Self
    where
        Self: Sized;

    /// Suffixes of the latents' names on disk, in the order of the planes. No two families share all of them.
    fn latents(&self) -> Vec<String>;

    /// An initial value of latent `plane`, for a He fan-out standard deviation `sigma`.
    fn initial(&self, plane: usize, init: InitName, sigma: f32, draws: &mut Draws) -> f32;

    /// The latents with which a plain trained weight goes on, where the family can begin from one.
    fn adopt(&self, _weight: f32) -> Option<Vec<f32>> {
        None
    }

    /// The discrete weight of one weight's latents. Zero is +0. Where the weight depends on its layer, `scale` is the layer's
    /// [`Family::scale`].
    fn weight(&self, latents: &[f32], scale: f32) -> f32;

    /// What a layer's weights depend on beside their own latents; `first` is the first plane of its latents.
    fn scale(&self, _first: &[f32]) -> f32 {
        1.0
    }

    /// The straight-through gradients of one weight's latents for g = dL/dw, with the regularizer's of strength `alpha`.
    fn gradients(&self, latents: &[f32], g: f32, alpha: f32, gradients: &mut [f32]);

    /// Whether the step leaves latent `plane` and its momentum alone.
    fn is_still(&self, _latents: &[f32], _plane: usize) -> bool {
        false
    }

    /// Brings one weight's latents back to where they may be, at the beginning and behind each step.
    fn confine(&self, _latents: &mut [f32]) {}

    /// Whether the host changes latents between epochs: see [`Family::begin_epoch`].
    fn has_schedule(&self) -> bool {
        false
    }

    /// Changes the planes of a layer's latents at the beginning of `epoch` of `epochs`. Once done, doing it again changes nothing.
    fn begin_epoch(&self, _planes: &mut [Vec<f32>], _epoch: u64, _epochs: u64) {}

    /// Whether a weight with these latents is as it will stay: of the alphabet, where the host makes it so between epochs.
    fn is_final(&self, _latents: &[f32]) -> bool {
        true
    }

    /// For families whose weights depend on the layer: the threshold over the layer's mean magnitude of the first latent.
    fn threshold(&self) -> Option<f32> {
        None
    }

    /// The discrete values, or `None` for real ones.
    fn alphabet(&self) -> Option<Alphabet>;
}

/// The discrete weights of a layer, from the planes of its latents.
///
/// # Panics
/// Where there is no plane, not as many as the family has latents, or one shorter than the first.
pub fn weights(family: &dyn Family, planes: &[&[f32]]) -> Vec<f32> {
    let scale = family.scale(planes[0]);
    let mut latents = vec![0.0; planes.len()];
    let weight = |i: usize| {
        for (latent, plane) in latents.iter_mut().zip(planes) {
            *latent = plane[i];
        }
        family.weight(&latents, scale)
    };
    (0..planes[0].len()).map(weight).collect()
}

/// Of each weight of a layer, whether it is final, from the planes of its latents.
///
/// # Panics
/// As [`weights`].
pub fn are_final(family: &dyn Family, planes: &[&[f32]]) -> Vec<bool> {
    let mut latents = vec![0.0; planes.len()];
    let is_final = |i: usize| {
        latents.iter_mut().zip(planes).for_each(|(latent, plane)| *latent = plane[i]);
        family.is_final(&latents)
    };
    (0..planes[0].len()).map(is_final).collect()
}

impl Method {
    /// Checks the bits; full precision ignores them.
    ///
    /// # Errors
    /// [`Error::Setting`] for bits that the method does not have.
    pub fn new(name: MethodName, bits: u32) -> Result<Method> {
        let (legal, words) = match name {
            MethodName::S3 | MethodName::DenseShift => (2..=5, "2, 3, 4 or 5"),
            MethodName::DeepShiftQ | MethodName::DeepShiftPs => (2..=6, "2 to 6"),
            MethodName::Inq => (3..=5, "3, 4 or 5 with --method inq"),
            MethodName::Ternary => (2..=2, "2 with --method ternary"),
            MethodName::Fp32 => return Ok(Method { name, bits }),
        };
        match legal.contains(&bits) {
            true => Ok(Method { name, bits }),
            false => Err(Error::setting("--bits", bits, words)),
        }
    }

    /// Which family of weights.
    pub fn name(&self) -> MethodName {
        self.name
    }

    /// Bits of a weight.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Full precision.
    pub const FP32: Method = Method { name: MethodName::Fp32, bits: 32 };

    /// The bits where nothing says them.
    pub fn default_bits(name: MethodName) -> u32 {
        if name == MethodName::Ternary { 2 } else { 3 }
    }

    /// The weight family.
    pub fn family(&self) -> Box<dyn Family> {
        match self.name {
            MethodName::S3 => Box::new(s3::S3::new(self.bits)),
            MethodName::DenseShift => Box::new(denseshift::DenseShift::new(self.bits)),
            MethodName::DeepShiftQ => Box::new(deepshift_q::DeepShiftQ::new(self.bits)),
            MethodName::DeepShiftPs => Box::new(deepshift_ps::DeepShiftPs::new(self.bits)),
            MethodName::Inq => Box::new(inq::Inq { bits: self.bits }),
            MethodName::Ternary => Box::new(ternary::Ternary),
            MethodName::Fp32 => Box::new(fp32::Fp32),
        }
    }

    /// Whether its weights are discrete.
    pub fn is_discrete(&self) -> bool {
        self.name != MethodName::Fp32
    }

    /// Every method at each of its bits, full precision once.
    pub fn all() -> impl Iterator<Item = Method> {
        use clap::ValueEnum;
        let of = |&name: &MethodName| (2..=6).filter_map(move |bits| Method::new(name, bits).ok());
        let discrete = MethodName::value_variants().iter().filter(|name| **name != MethodName::Fp32);
        discrete.flat_map(of).chain([Method::FP32])
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let bits = self.bits;
        match self.name {
            MethodName::S3 => write!(f, "S³ {bits}-bit"),
            MethodName::DenseShift => write!(f, "DenseShift {bits}-bit"),
            MethodName::DeepShiftQ => write!(f, "DeepShift-Q {bits}-bit"),
            MethodName::DeepShiftPs => write!(f, "DeepShift-PS {bits}-bit"),
            MethodName::Inq => write!(f, "INQ {bits}-bit"),
            MethodName::Ternary => write!(f, "ternary"),
            MethodName::Fp32 => write!(f, "fp32"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    /// The latents of a drawn weight, confined; gates open more often than not, so that all shifts occur.
    fn drawn(family: &dyn Family, draws: &mut Draws) -> Vec<f32> {
        let planes = family.latents().len();
        let mut latents: Vec<f32> = (0..planes).map(|p| draws.normal() + 0.4 * p as f32).collect();
        family.confine(&mut latents);
        latents
    }

    /// Every family's weights are of its alphabet, and every value of it occurs.
    #[test]
    fn weights_are_of_the_alphabet() {
        for method in Method::all().filter(Method::is_discrete) {
            let family = method.family();
            let alphabet = family.alphabet().expect("discrete");
            let mut draws = Draws::new(1, Stream::Synthetic, 0, method.bits);
            let mut values = std::collections::BTreeSet::new();
            for _ in 0..200_000 {
                let mut latents = drawn(family.as_ref(), &mut draws);
                if method.name == MethodName::Inq {
                    latents = vec![inq::nearest(latents[0], 0, method.bits), 1.0];
                }
                if method.name == MethodName::DeepShiftPs {
                    latents[1] = draws.range(-35.0, 1.0);
                    family.confine(&mut latents);
                }
                if method.name == MethodName::DeepShiftQ {
                    latents[0] = (-6.0 * draws.normal().abs()).exp2().copysign(latents[0]);
                    family.confine(&mut latents);
                }
                let weight = family.weight(&latents, 1.0);
                let lowest = alphabet.lowest.unwrap_or(1 - alphabet.levels as i32);
                let scaled = weight * (-lowest as f32).exp2();
                assert!(weight != 0.0 || weight.is_sign_positive(), "{method}: zero is +0");
                assert!(alphabet.code(scaled).is_some(), "{method}: {weight}");
                values.insert(scaled.to_bits());
            }
            let all = 2 * alphabet.levels as usize + usize::from(alphabet.zero);
            assert!(all <= 1 << method.bits && alphabet.bits == method.bits, "{method}");
            // Among thousands of values of 5 bits, those of 14 open gates are rare.
            assert!(values.len() == all || alphabet.levels > 8, "{method}: {} of {all}", values.len());
        }
    }

    /// With the dense prior every weight begins as ±1, else latents of both signs; DeepShift-PS draws from ranges of its own.
    #[test]
    fn latents_begin_as_their_papers_say() {
        for method in [MethodName::S3, MethodName::DenseShift].map(|name| Method { name, bits: 4 }) {
            let family = method.family();
            let planes = family.latents().len();
            let mut draws = Draws::new(1, Stream::Synthetic, 0, 0);
            let mut drawn = |init| -> Vec<f32> {
                (0..planes).map(|plane| family.initial(plane, init, 0.5, &mut draws)).collect()
            };
            for _ in 0..1000 {
                let latents = drawn(InitName::Dense);
                assert_eq!(family.weight(&latents, 1.0), latents[0].signum(), "{method}: {latents:?}");
            }
            let normal: Vec<Vec<f32>> = (0..1000).map(|_| drawn(InitName::Normal)).collect();
            for plane in 0..planes {
                let above = normal.iter().filter(|latents| latents[plane] > 0.0).count();
                assert!((400..600).contains(&above), "{method}: {above} of 1000 in plane {plane}");
            }
        }
        let family = deepshift_ps::DeepShiftPs::new(6);
        let mut draws = Draws::new(1, Stream::Synthetic, 0, 0);
        for (plane, [low, high]) in [[-1.0, 1.0], [-10.0, -1.0]].into_iter().enumerate() {
            let mut drawn = || family.initial(plane, InitName::Dense, 0.5, &mut draws);
            let values: Vec<f32> = (0..1000).map(|_| drawn()).collect();
            let (least, most) = values.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
            let near = |value: f32, end: f32| (value - end).abs() < 0.1;
            assert!(near(least, low) && near(most, high), "plane {plane}: from {least} to {most}");
            assert!(low <= least && most < high, "plane {plane}: from {least} to {most}");
        }
    }

    /// A family that begins from a plain weight begins near it, a zero as near as it has.
    #[test]
    fn plain_weights_are_gone_on_with() {
        let begun = |family: &dyn Family, weight: f32| {
            let mut latents = family.adopt(weight).expect("it can begin from one");
            family.confine(&mut latents);
            family.weight(&latents, 1.0)
        };
        let ps = deepshift_ps::DeepShiftPs::new(3);
        assert_eq!([0.0, -0.0, -0.3, 0.02, 5.0].map(|w| begun(&ps, w)), [0.0, 0.0, -0.25, 0.25, 1.0]);
        let q = deepshift_q::DeepShiftQ::new(3);
        assert_eq!([0.0, -0.3, 0.02, 5.0].map(|w| begun(&q, w)), [0.125, -0.25, 0.125, 1.0]);
        assert_eq!([0.0, -0.3].map(|w| begun(&inq::Inq { bits: 3 }, w)), [0.0, -0.3]);
        assert_eq!(inq::Inq { bits: 3 }.adopt(0.25), Some(vec![0.25, 0.0]), "nothing is fixed yet");
        assert!([MethodName::S3, MethodName::DenseShift].iter().all(|&name| {
            let method = Method { name, bits: 3 };
            method.family().adopt(1.0).is_none()
        }));
    }

    /// What a file's tensors are called tells the family.
    #[test]
    fn names_of_latents_tell_the_family() {
        let all: Vec<_> = Method::all().map(|method| (method.name, method.family().latents())).collect();
        for (name, latents) in &all {
            let clash = all.iter().find(|(other, same)| other != name && same == latents);
            assert!(clash.is_none(), "{name:?} and {clash:?}");
        }
    }

    #[test]
    fn kernels_rebuild_their_family() {
        fn same<F: Family>(family: &dyn Family) {
            let again = F::of_form(family.form());
            assert_eq!((again.latents(), again.kernel()), (family.latents(), family.kernel()));
        }
        for method in Method::all() {
            let family = method.family();
            match method.name {
                MethodName::S3 => same::<s3::S3>(family.as_ref()),
                MethodName::DenseShift => same::<denseshift::DenseShift>(family.as_ref()),
                MethodName::DeepShiftQ => same::<deepshift_q::DeepShiftQ>(family.as_ref()),
                MethodName::DeepShiftPs => same::<deepshift_ps::DeepShiftPs>(family.as_ref()),
                MethodName::Inq => same::<inq::Inq>(family.as_ref()),
                MethodName::Ternary => same::<ternary::Ternary>(family.as_ref()),
                MethodName::Fp32 => same::<fp32::Fp32>(family.as_ref()),
            }
        }
    }
}
