//! Loops that the compiler turns into vector instructions, for the CPU that runs them.

/// Channels that are computed together: two registers of AVX2, four of NEON.
pub const LANES: usize = 16;

/// One value for each of 16 channels.
pub type Lanes = [f32; LANES];

/// a b + c: rounded once where `FMA`, else twice.
#[inline(always)]
pub fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction, `mul_add` would call a function.
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Set by tests to run what a CPU without AVX2 would.
#[cfg(test)]
pub static PORTABLE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[cfg(target_arch = "x86_64")]
pub fn has_avx2_and_fma() -> bool {
    #[cfg(test)]
    if PORTABLE.load(std::sync::atomic::Ordering::Relaxed) {
        return false;
    }
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// A function that is compiled twice: for AVX2 and FMA, and for what every CPU of the target has. The one that fits runs.
/// In its body the constant `FMA` says whether there is an instruction for a b + c.
macro_rules! vectorized {
    (
        $(#[$attribute:meta])*
        $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block
    ) => {
        $(#[$attribute])*
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn any<const FMA: bool>($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) {
                    any::<true>($($arg),*)
                }
                if $crate::cpu::lanes::has_avx2_and_fma() {
                    // SAFETY: the CPU has the two features.
                    return unsafe { avx2($($arg),*) };
                }
            }
            any::<{ cfg!(target_feature = "neon") }>($($arg),*)
        }
    };
}
