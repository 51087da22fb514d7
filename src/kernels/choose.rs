//! Which of a kernel's variants runs: by what is asked for, what is known, or a rule of shape and adapter.

use super::conv2d_forward::Params as Conv;
use super::{Kernel, Variant, all, conv2d_input_grad, conv2d_shift, conv2d_weight_grad, elements, get};
use crate::error::{Error, Result};
use crate::plan::{AdapterKind, Capabilities, Dispatch};
use std::collections::BTreeMap;

/// Variants by problem; see [`problem`].
pub type Chosen = BTreeMap<String, String>;

/// What decides before the rule does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices {
    /// A variant, or a family of variants such as `tile`, that runs wherever it can.
    pub forced: Option<String>,
    /// What was measured, or what a run began with.
    pub known: Chosen,
}

impl Choices {
    /// Everything by `name`, where that can be.
    ///
    /// # Errors
    /// [`Error::Setting`] where no kernel has such a variant.
    pub fn forced(name: &str) -> Result<Choices> {
        let variants = || all().flat_map(|kernel| kernel.variants).filter(|v| !v.name.is_empty());
        if variants().any(|v| v.name == name || v.family() == name) {
            return Ok(Choices { forced: Some(name.into()), ..Choices::default() });
        }
        let mut names: Vec<_> = variants().flat_map(|v| [v.family(), v.name]).collect();
        names.sort_unstable();
        names.dedup();
        Err(Error::setting("--variant", name, format!("one of {}", names.join(", "))))
    }

    /// The variant of `kernel` for `conv`.
    pub fn variant(
        &self,
        kernel: &'static Kernel,
        conv: &Conv,
        capabilities: &Capabilities,
    ) -> &'static Variant {
        let runs = |v: &&Variant| v.runs_on(capabilities) && v.fits(conv);
        let known = self.known.get(&name(kernel.stem, conv)).and_then(|name| kernel.variant(name));
        if let Some(known) = known.filter(runs) {
            return known;
        }
        let forced = self.forced.as_deref().map(|name| {
            let named = kernel.variants.iter().filter(move |v| v.name == name || v.family() == name);
            cheapest(kernel, conv, capabilities, named.filter(runs))
        });
        forced.flatten().unwrap_or_else(|| rule(kernel, conv, capabilities))
    }
}

/// A convolution's kernel and shape in words: what a choice is remembered by.
fn name(stem: &str, conv: &Conv) -> String {
    let Conv { n, h, w, c, k, r, s, stride, .. } = conv;
    format!("{stem} {n}x{h}x{w}x{c} to {k}, {r}x{s}, stride {stride}")
}

/// What a choice for `dispatch` is remembered by; none where its kernel has only one variant.
pub fn problem(dispatch: &Dispatch) -> Option<String> {
    let kernel = get(dispatch.stem);
    (kernel.variants.len() > 1).then(|| name(kernel.stem, &shape(dispatch)))
}

/// The variants of `dispatches`, by problem.
pub fn chosen<'a>(dispatches: impl IntoIterator<Item = &'a Dispatch>) -> Chosen {
    dispatches.into_iter().filter_map(|d| Some((problem(d)?, d.variant.to_string()))).collect()
}

/// Whether a variant computes the convolution of this dispatch, which is one of its kernel, cut as it is.
pub fn fits(variant: &Variant, dispatch: &Dispatch) -> bool {
    if get(dispatch.stem).variants.len() < 2 {
        return true;
    }
    let conv = shape(dispatch);
    let whole = variant.family() != "direct" || dispatch.stem == "conv2d_input_grad";
    variant.fits(&conv) && (whole || (conv.chunk as usize).is_multiple_of(variant.constant("BM")))
}

/// The shape of a convolution's dispatch.
pub(crate) fn shape(dispatch: &Dispatch) -> Conv {
    match dispatch.stem {
        "conv2d_dot" | "conv2d_shift" => conv2d_shift::Params::of(&dispatch.params).shape(),
        _ => Conv::of(&dispatch.params),
    }
}

/// What is good without measuring. On CPU cores loads are dear and barriers dearer: registers filled straight from
/// storage, with loads shared by shuffles where there are subgroups. Elsewhere through workgroup memory, by what costs least.
/// The first variant for all others.
pub fn rule(kernel: &'static Kernel, conv: &Conv, capabilities: &Capabilities) -> &'static Variant {
    let first = &kernel.variants[0];
    match capabilities.kind {
        AdapterKind::Host => first,
        AdapterKind::Software => match kernel.variant("subgroup") {
            Some(v) if v.runs_on(capabilities) && fills_lanes(kernel, conv) => v,
            _ => first,
        },
        _ => {
            let tiled =
                kernel.variants.iter().filter(|v| v.is_tiled() && v.runs_on(capabilities) && v.fits(conv));
            cheapest(kernel, conv, capabilities, tiled).unwrap_or(first)
        }
    }
}

/// Whether the lanes that share loads have work enough for it.
fn fills_lanes(kernel: &Kernel, conv: &Conv) -> bool {
    match kernel.stem {
        "conv2d_weight_grad" => {
            let entries = conv2d_weight_grad::entries(conv);
            2 * entries > entries.next_multiple_of(12)
        }
        "conv2d_input_grad" => elements(&[conv.n, conv.h, conv.w]) >= 64,
        _ => conv.pixels() >= 64,
    }
}

/// The variant with the least [`cost`], the first of equals.
fn cheapest(
    kernel: &Kernel,
    conv: &Conv,
    capabilities: &Capabilities,
    variants: impl Iterator<Item = &'static Variant>,
) -> Option<&'static Variant> {
    let cost = |v: &&Variant| if v.is_tiled() { cost(kernel, conv, capabilities, v) } else { 0.0 };
    variants.min_by(|a, b| cost(a).total_cmp(&cost(b)))
}

/// The elements of the product that a tile's workgroups compute, those outside it too; times loads from workgroup memory
/// beside the arithmetic; times what part of the adapter would stand still for want of threads; and a tenth more where 256 threads
/// with many sums each wait for each other at a barrier. (On an H200 half as many threads with twice the sums each were faster;
/// and ResNet-18, folded, was 1.11 times as fast by tiles of 128 x 64 with 128 threads as by tiles of 128 x 128 with 256, its
/// shifts 1.00 to 1.05 times as fast by half tiles. Input gradients have the tiles of the first and are taken to do as it does.)
fn cost(kernel: &Kernel, conv: &Conv, capabilities: &Capabilities, tile: &Variant) -> f64 {
    let [bm, bn, tm, tn] = ["BM", "BN", "TM", "TN"].map(|name| tile.constant(name));
    let (rows, columns, parts) = match kernel.stem {
        "conv2d_input_grad" => (conv2d_input_grad::runs(conv, bm) * bm, conv.c, 1),
        // The sum over the batch can be cut into parts that fill the adapter.
        "conv2d_weight_grad" => (4 * conv2d_weight_grad::entries(conv), conv.k, conv.n as usize),
        _ => (conv.pixels(), conv.k, 1),
    };
    let (rows, columns) = (rows.div_ceil(bm), (columns as usize).div_ceil(bn));
    // Loads of vectors for one entry of a thread's sums, over their multiply-adds; 8 of those take as long as a load.
    let loads = match tile.family() {
        "direct" => 8.0 * ((2 + tm / 4) * 6 + 9 * tn) as f64 / (36 * tm * tn) as f64,
        _ => 2.0 * (tm + tn) as f64 / (tm * tn) as f64,
    };
    let loads = 0.5 + loads;
    let threads = rows * columns * parts * tile.workgroup as usize;
    let idle = (capabilities.invocations() as f64 / threads as f64).max(1.0);
    let waits = if tile.workgroup > 128 && tm * tn > 32 { 1.1 } else { 1.0 };
    (rows * bm * columns * bn) as f64 * loads * idle * waits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{conv2d_forward, conv2d_weight_grad};

    fn on(kind: AdapterKind, subgroups: bool) -> Capabilities {
        Capabilities { kind, max_binding: 1 << 30, subgroups }
    }

    fn ruled(
        kernel: &'static Kernel,
        from: [usize; 4],
        k: usize,
        size: usize,
        on: Capabilities,
    ) -> &'static str {
        rule(kernel, &Conv::new(from, k, size, 1), &on).name
    }

    #[test]
    fn tiles_fit_the_channels_and_the_adapter() {
        let gpu = on(AdapterKind::Discrete, true);
        let forward = |from, k| ruled(&conv2d_forward::KERNEL, from, k, 3, gpu);
        assert_eq!(forward([128, 32, 32, 16], 16), "direct-2");
        assert_eq!(forward([128, 8, 8, 64], 64), "direct-2");
        // Few images: half as many pixels a thread, so that there are twice as many.
        assert_eq!(forward([32, 8, 8, 64], 64), "direct-1");
        // Widths that its strips do not have.
        assert_eq!(forward([128, 30, 30, 16], 16), "tile-128x16");
        assert_eq!(forward([256, 56, 56, 64], 64), "tile-128x64");
        assert_eq!(forward([256, 28, 28, 128], 128), "tile-128x64");
        // Few pixels: smaller tiles, of as many threads, so that all of the adapter works.
        assert_eq!(forward([8, 7, 7, 512], 512), "tile-128x32");
        let weight = |from, k| ruled(&conv2d_weight_grad::KERNEL, from, k, 3, gpu);
        assert_eq!(weight([128, 32, 32, 16], 16), "tile-64x16");
        assert_eq!(weight([256, 28, 28, 128], 128), "tile-128x128");
        let shift = |from, k| ruled(&conv2d_shift::KERNEL, from, k, 3, gpu);
        assert_eq!(shift([128, 32, 32, 16], 16), "tile-256x16");
        assert_eq!(shift([128, 56, 56, 64], 64), "tile-128x64");
    }

    #[test]
    fn software_adapters_share_loads_where_they_can() {
        let (with, without) = (on(AdapterKind::Software, true), on(AdapterKind::Software, false));
        let shape = [128, 32, 32, 16];
        assert_eq!(ruled(&conv2d_forward::KERNEL, shape, 16, 3, with), "subgroup");
        assert_eq!(ruled(&conv2d_forward::KERNEL, shape, 16, 3, without), "registers");
        assert_eq!(ruled(&conv2d_weight_grad::KERNEL, shape, 16, 3, with), "subgroup");
        // 4 entries for 12 places.
        assert_eq!(ruled(&conv2d_weight_grad::KERNEL, shape, 32, 1, with), "registers");
        assert_eq!(ruled(&conv2d_forward::KERNEL, shape, 16, 3, on(AdapterKind::Host, false)), "registers");
        // 64 pixels, of which stride 2 makes 16: each kernel needs 64 of those that it writes.
        let halved = Conv::new([1, 8, 8, 16], 16, 3, 2);
        let of = |kernel| rule(kernel, &halved, &with).name;
        assert_eq!([&conv2d_forward::KERNEL, &conv2d_input_grad::KERNEL].map(of), ["registers", "subgroup"]);
        let small = Conv::new([1, 7, 9, 16], 16, 3, 1);
        assert_eq!(rule(&conv2d_input_grad::KERNEL, &small, &with).name, "registers");
    }

    #[test]
    fn what_is_known_counts_before_what_is_forced_before_the_rule() {
        let gpu = on(AdapterKind::Discrete, false);
        let conv = Conv::new([4, 8, 8, 16], 16, 3, 1);
        let kernel = &conv2d_forward::KERNEL;
        let mut choices = Choices::forced("registers").expect("a variant");
        assert_eq!(choices.variant(kernel, &conv, &gpu).name, "registers");
        choices.known.insert(name(kernel.stem, &conv), "tile-64x64".into());
        assert_eq!(choices.variant(kernel, &conv, &gpu).name, "tile-64x64");
        // What is gone, or what the adapter can not do, is as if it were not known.
        for unusable in ["tile-1x1", "subgroup"] {
            choices.known.insert(name(kernel.stem, &conv), unusable.into());
            assert_eq!(choices.variant(kernel, &conv, &gpu).name, "registers");
        }
        assert_eq!(Choices::forced("tile").expect("a family").variant(kernel, &conv, &gpu).family(), "tile");
        let forced = Choices::forced("subgroup").expect("a variant");
        assert_eq!(forced.variant(kernel, &conv, &gpu).name, rule(kernel, &conv, &gpu).name);
        assert!(Choices::forced("fast").is_err());
        // 30 columns are no strips of a direct variant.
        let wide = Conv::new([4, 30, 30, 16], 16, 3, 1);
        choices.known.insert(name(kernel.stem, &wide), "direct-2".into());
        assert_eq!(choices.variant(kernel, &wide, &gpu).name, "registers");
        let forced = Choices::forced("direct").expect("a family");
        assert_eq!(forced.variant(kernel, &wide, &gpu).name, rule(kernel, &wide, &gpu).name);
        assert_eq!(forced.variant(kernel, &conv, &gpu).family(), "direct");
    }
}
