//! Convolution, gradient of the weight, first stage: partial sums over parts of the batch.

use super::variant::tile;
use super::{Needs, Variant, elements};
use crate::error::Result;
use crate::plan::{Dispatch, View};

pub use super::conv2d_forward::Params;

const VARIANTS: &[Variant] = &[
    Variant {
        groups: Some(|_, params| {
            let conv = Params::of(params);
            (conv.splits as usize * tiles(&conv)).div_ceil(64)
        }),
        ..Variant::new("registers", shader!("conv2d_weight_grad/registers"))
    },
    Variant {
        needs: Needs::Subgroups,
        // 48 rows x 16 columns of the (R S C, K) gradient for 4 lanes.
        groups: Some(|_, params| {
            let conv = Params::of(params);
            let tiles = entries(&conv).div_ceil(12) * (conv.k as usize).div_ceil(16);
            (conv.splits as usize * tiles).div_ceil(16)
        }),
        ..Variant::new("subgroup", shader!("conv2d_weight_grad/subgroup"))
    },
    tile!("conv2d_weight_grad", 128 x 128, 8 x 8, 4, workgroups),
    tile!("conv2d_weight_grad", 128 x 64, 8 x 4, 4, workgroups),
    tile!("conv2d_weight_grad", 64 x 64, 8 x 4, 4, workgroups),
    tile!("conv2d_weight_grad", 64 x 32, 8 x 4, 4, workgroups),
    tile!("conv2d_weight_grad", 64 x 16, 4 x 4, 4, workgroups),
    tile!("conv2d_weight_grad", 32 x 32, 4 x 4, 4, workgroups),
];

/// Workgroups of a `tile` variant: BM x BN of the (R S C, K) gradient each.
fn workgroups(variant: &Variant, params: &[u8]) -> usize {
    let conv = Params::of(params);
    let rows = entries(&conv).div_ceil(variant.constant("BM") / 4);
    conv.splits as usize * rows * (conv.k as usize).div_ceil(variant.constant("BN"))
}

kernel! { conv2d_weight_grad(Params) in VARIANTS [x: Read F32, dy: Read F32, partial: Write F32] }

/// `partial` (splits, r, s, c, k): the sum over each of the `params.splits` runs of output rows (n, p), from
/// x (n, h, w, c) and dy (n, p, q, k). `sum_partials` adds the parts.
pub fn dispatch(label: &str, params: Params, x: View, dy: View, partial: View) -> Result<Dispatch> {
    let len = params.splits as usize * params.w_len();
    let views = [(x, params.x_len()), (dy, params.y_len()), (partial, len)];
    KERNEL.dispatch(label, params, &views, 0, params.flops())
}

/// Groups of 4 input channels at one tap.
pub(super) fn entries(params: &Params) -> usize {
    (params.r * params.s * params.c / 4) as usize
}

/// Invocations of one part: 12 rows x 16 columns each of the (R S C, K) gradient.
fn tiles(params: &Params) -> usize {
    entries(params).div_ceil(3) * (params.k as usize).div_ceil(16)
}

/// Threads of tiles that fill an adapter, over its [`Capabilities::invocations`](crate::plan::Capabilities::invocations).
pub(crate) const THREADS_OVER_INVOCATIONS: usize = 4;

/// Into how many parts the sum over the batch is cut for `invocations` that fill the adapter.
pub fn splits(params: &Params, variant: &Variant, invocations: usize) -> usize {
    let parts = match variant.family() {
        "tile" => {
            let whole = workgroups(variant, bytemuck::bytes_of(&Params { splits: 1, ..*params }));
            (THREADS_OVER_INVOCATIONS * invocations).div_ceil(whole * variant.workgroup as usize)
        }
        _ => invocations.div_ceil(tiles(params)),
    };
    runs(params, parts)
}

/// The tasks that a part is cut into on CPU cores: rows of the kernel, and parts of these where they are long, each of so many
/// channels that what they all read counts little.
pub fn tasks_of_part(params: &Params) -> usize {
    const ROWS: usize = 256;
    let [r, row] = [params.r, params.s * params.c].map(|x| x as usize);
    match row < ROWS {
        true => 1,
        false => r * (1..=row / ROWS).rev().find(|pieces| row.is_multiple_of(4 * pieces)).unwrap_or(1),
    }
}

/// Into how many parts the sum over the batch is cut on CPU cores: so that there are tasks for 16 of them.
pub fn parts_for_cores(params: &Params) -> usize {
    16usize.div_ceil(tasks_of_part(params))
}

/// The number of equal runs of output rows (n, p), none empty, that comes nearest to `parts` from below.
pub fn runs(params: &Params, parts: usize) -> usize {
    let rows = elements(&[params.n, params.p]);
    rows.div_ceil(rows.div_ceil(parts.clamp(1, rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Work for 16 cores, of few parts where the weight is large.
    #[test]
    fn large_weights_are_cut_rather_than_copied() {
        for (c, k, size, tasks, parts) in
            [(16, 16, 3, 1, 16), (64, 64, 3, 1, 16), (128, 128, 3, 3, 6), (512, 512, 3, 18, 1), (2048, 512, 1, 8, 2), (300, 64, 1, 1, 16)]
        {
            let conv = Params::new([32, 7, 7, c], k, size, 1);
            assert_eq!((tasks_of_part(&conv), parts_for_cores(&conv)), (tasks, parts), "{c} to {k}, {size} x {size}");
            assert!(conv.w_len().is_multiple_of(4 * tasks));
        }
    }
}
