//! The shaders of a kernel: several ways to compute the same.

use super::conv2d_forward::Params as Conv;
use super::{WORKGROUP, fold, source};
use crate::plan::{Capabilities, Dispatch};

/// What an adapter must have for a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// What every WebGPU device has by default.
    Defaults,
    /// Subgroups of at least 8 lanes with shuffles; see [`Capabilities::subgroups`].
    Subgroups,
}

/// A shader of a kernel.
pub struct Variant {
    /// Empty where the kernel has only one. A name may have a suffix after a dash, for one of several sizes of the same
    /// source.
    pub name: &'static str,
    /// WGSL with imports; see [`Variant::text`].
    pub source: &'static str,
    /// u32 constants that the source leaves open.
    pub constants: &'static [(&'static str, u32)],
    /// Invocations of a workgroup.
    pub workgroup: u32,
    pub needs: Needs,
    /// Whether adapters that compile fast compile it for each set of parameters, these being constants.
    pub specialized: bool,
    /// The convolutions that it computes.
    pub fits: fn(&Variant, &Conv) -> bool,
    /// Workgroups that a dispatch with these parameters needs; none where the kernel has only one variant.
    pub groups: Option<fn(&Variant, &[u8]) -> usize>,
}

impl Variant {
    /// A variant with workgroups of [`WORKGROUP`] that runs everywhere.
    pub const fn new(name: &'static str, source: &'static str) -> Variant {
        Variant {
            name,
            source,
            constants: &[],
            workgroup: WORKGROUP,
            needs: Needs::Defaults,
            specialized: false,
            fits: |_, _| true,
            groups: None,
        }
    }

    /// The name without the size: `tile` of `tile-64x64`.
    pub fn family(&self) -> &'static str {
        self.name.split('-').next().unwrap_or(self.name)
    }

    /// Whether its operands go through workgroup memory, BM pixels or rows at a time.
    pub fn is_tiled(&self) -> bool {
        matches!(self.family(), "tile" | "direct")
    }

    /// The value of a constant.
    ///
    /// # Panics
    /// On a name that it does not have.
    pub fn constant(&self, name: &str) -> usize {
        let found = self.constants.iter().find(|(own, _)| *own == name);
        found.unwrap_or_else(|| panic!("{} has no constant {name}", self.name)).1 as usize
    }

    /// The WGSL of `source`, which is this variant's own or one that stands in for it: with imports and constants.
    pub fn text_of(&self, source: &str) -> String {
        let constant = |(name, value): &(&str, u32)| format!("const {name}: u32 = {value}u;\n");
        self.constants.iter().map(constant).collect::<String>() + &source::expand(source)
    }

    /// The WGSL.
    pub fn text(&self) -> String {
        self.text_of(self.source)
    }

    /// Whether it computes this convolution.
    pub fn fits(&self, conv: &Conv) -> bool {
        (self.fits)(self, conv)
    }

    /// Whether an adapter can run it.
    pub fn runs_on(&self, capabilities: &Capabilities) -> bool {
        match self.needs {
            Needs::Defaults => true,
            Needs::Subgroups => capabilities.subgroups,
        }
    }
}

/// `dispatch`, run by another variant of its kernel.
///
/// # Panics
/// Where the variant is another kernel's, or does not compute this convolution, or the kernel has only one.
pub fn with_variant(mut dispatch: Dispatch, variant: &'static Variant) -> Dispatch {
    let groups = variant.groups.expect("a kernel with variants counts their workgroups");
    debug_assert!(super::get(dispatch.stem).variants.iter().any(|v| std::ptr::eq(v, variant)));
    debug_assert!(super::choose::fits(variant, &dispatch), "{} {}", dispatch.stem, variant.name);
    dispatch.variant = variant.name;
    dispatch.groups = fold(groups(variant, &dispatch.params));
    dispatch
}

/// A size of a `tile` variant, whose products go through workgroup memory: BM x BN a workgroup, TM x TN a thread, and 4 Q
/// deep a step. See `shaders/shared/tile.wgsl`.
macro_rules! tile {
    ($stem:literal, $bm:literal x $bn:literal, $tm:literal x $tn:literal, $q:literal, $groups:expr) => {
        $crate::kernels::Variant {
            constants: &[
                ("BM", $bm),
                ("BN", $bn),
                ("TM", $tm),
                ("TN", $tn),
                ("Q", $q),
                ("THREADS", $bm / $tm * ($bn / $tn)),
            ],
            workgroup: $bm / $tm * ($bn / $tn),
            specialized: true,
            groups: Some($groups),
            ..$crate::kernels::Variant::new(
                concat!("tile-", stringify!($bm), "x", stringify!($bn)),
                include_str!(concat!("../../shaders/", $stem, "/tile.wgsl")),
            )
        }
    };
}

/// A size of a `direct` variant: ROWS x 4 pixels of 4 output channels a thread, of 16 channels a workgroup. See
/// `shaders/shared/direct.wgsl`.
macro_rules! direct {
    ($stem:literal, $rows:literal, $groups:expr) => {
        $crate::kernels::Variant {
            constants: &[
                ("BM", 128 * $rows),
                ("BN", 16),
                ("TM", 4 * $rows),
                ("TN", 4),
                ("ROWS", $rows),
                ("THREADS", 128),
                // Vectors of 4 elements of the inputs that a workgroup has at once.
                ("PATCH", 400),
            ],
            workgroup: 128,
            specialized: true,
            fits: $crate::kernels::variant::is_direct,
            groups: Some($groups),
            ..$crate::kernels::Variant::new(
                concat!("direct-", stringify!($rows)),
                include_str!(concat!("../../shaders/", $stem, "/direct.wgsl")),
            )
        }
    };
}

/// What `shaders/shared/direct.wgsl` asks for.
pub(super) fn is_direct(variant: &Variant, conv: &Conv) -> bool {
    let [height, width] = [conv.h, conv.w].map(|x| x as usize);
    let [pixels, own] = ["BM", "ROWS"].map(|name| variant.constant(name));
    if [conv.r, conv.s, conv.stride, conv.pad] != [3, 3, 1, 1] || ![4, 8, 16, 32, 64].contains(&width) {
        return false;
    }
    let all = pixels / width;
    let rows = all.min(height);
    let whole = height.is_multiple_of(rows) && all.is_multiple_of(rows) && rows.is_multiple_of(own);
    whole && all / rows * (rows + 2) * (width + 2) <= variant.constant("PATCH")
}

pub(super) use direct;
pub(super) use tile;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::conv2d_forward;

    /// Whole rows, of one image or of whole images, whose inputs fit the workgroup's memory.
    #[test]
    fn direct_variants_fit_what_their_strips_can_be_laid_over() {
        let fits = |name, [h, w]: [usize; 2]| {
            let variant = conv2d_forward::KERNEL.variant(name).expect("a variant");
            variant.fits(&Conv::new([3, h, w, 8], 8, 3, 1))
        };
        for side in [8, 16, 32, 64] {
            assert!(fits("direct-1", [side; 2]) && fits("direct-2", [side; 2]), "{side}");
        }
        assert!(
            fits("direct-1", [4, 4]) && !fits("direct-2", [4, 4]),
            "8 or 16 images at once, with their borders"
        );
        assert!(fits("direct-1", [2, 8]) && !fits("direct-2", [2, 8]));
        assert!(fits("direct-1", [1, 64]) && !fits("direct-2", [1, 64]), "two rows a thread");
        for size in [[56, 56], [28, 28], [7, 7], [12, 16], [7, 8], [128, 128]] {
            assert!(!fits("direct-1", size) && !fits("direct-2", size), "{size:?}");
        }
        let direct = conv2d_forward::KERNEL.variant("direct-2").expect("a variant");
        for (size, stride) in [(3, 2), (1, 1), (7, 1)] {
            assert!(!direct.fits(&Conv::new([3, 32, 32, 8], 8, size, stride)));
        }
    }
}
