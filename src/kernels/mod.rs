//! The kernels. One operation is `shaders/<stem>.wgsl`, its binding here as `<stem>.rs` (typed
//! parameters, shape checks, grid, cost) and its CPU twin `src/reference/<stem>.rs`, with the same
//! bindings in the same order. [`all`] are all of them. A kernel with several variants has
//! `shaders/<stem>/<variant>.wgsl`, one binding and one twin.
//!
//! Symbols as in cuDNN: N batch, H W input, P Q output, C input channels, K output channels, R S
//! kernel. Activations are NHWC with C a multiple of 4, convolution weights (R, S, C, K).

pub mod choose;
pub mod source;
mod variant;

pub use variant::{Needs, Variant, with_variant};

use crate::error::{Error, Result};
use crate::plan::{ALIGN, Cost, Dispatch, Elem, View};

/// Invocations of a workgroup, in a kernel with one variant that says nothing else.
pub const WORKGROUP: u32 = 64;

/// Elements of a view that a dispatch binds but does not use.
pub const UNUSED: usize = 4;

/// Weights that share a layer: each layer's begin at a multiple of them, so that a table can say what holds for each block.
pub const BLOCK: usize = 64;
const _: () = assert!(BLOCK == ALIGN, "layers begin where views can");

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    /// Written, and perhaps read.
    Write,
}

/// A storage binding of a kernel. Binding 0 is the parameters' uniform; storage starts at 1.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    pub name: &'static str,
    pub access: Access,
    pub elem: Elem,
}

/// A CPU form of a kernel: runs on the parameters' bytes and the bound views.
pub type OnCpu = fn(&[u8], Vec<&mut [u32]>);

/// A kernel: its shaders, its interface and its CPU forms.
pub struct Kernel {
    pub stem: &'static str,
    /// The first one runs everywhere.
    pub variants: &'static [Variant],
    /// Name and byte offset of each parameter.
    pub params: &'static [(&'static str, usize)],
    pub bindings: &'static [Binding],
    /// The CPU twin: readable, sums in f64, the oracle.
    pub twin: OnCpu,
    /// What the host engine runs: the twin, or a faster form of it.
    pub fast: OnCpu,
}

impl Kernel {
    /// The variant called `name`.
    pub fn variant(&self, name: &str) -> Option<&'static Variant> {
        self.variants.iter().find(|v| v.name == name)
    }

    /// A dispatch of this kernel's first variant. `views` come with the number of elements that each must have;
    /// `invocations` is the number of shader invocations that have work, or that belong to workgroups which share it, for a kernel
    /// with one variant.
    pub(crate) fn dispatch<P: bytemuck::Pod>(
        &'static self,
        label: &str,
        params: P,
        views: &[(View, usize)],
        invocations: usize,
        flops: usize,
    ) -> Result<Dispatch> {
        debug_assert_eq!(views.len(), self.bindings.len(), "{}", self.stem);
        for (binding, &(view, expected)) in self.bindings.iter().zip(views) {
            if view.len != expected {
                return Err(Error::Shape { op: self.stem, tensor: binding.name, expected, got: view.len });
            }
        }
        let params = bytemuck::bytes_of(&params).to_vec();
        let first = &self.variants[0];
        let one = || invocations.div_ceil(first.workgroup as usize);
        let groups = first.groups.map_or_else(one, |groups| groups(first, &params));
        Ok(Dispatch {
            label: label.to_string(),
            stem: self.stem,
            variant: first.name,
            params,
            views: views.iter().map(|&(view, _)| view).collect(),
            groups: fold(groups),
            cost: Cost { flops: flops as u64, bytes: views.iter().map(|(_, len)| *len as u64 * 4).sum() },
        })
    }
}

/// Elements of a tensor of these dimensions.
pub(crate) fn elements(dimensions: &[u32]) -> usize {
    dimensions.iter().map(|&d| d as usize).product()
}

/// `groups` workgroups as a grid: what passes 65,535 is folded into the second dimension.
pub fn fold(groups: usize) -> [u32; 2] {
    const MOST: usize = 65_535;
    let rows = groups.div_ceil(MOST).max(1);
    [groups.div_ceil(rows).max(1) as u32, rows as u32]
}

/// A kernel's parameters: a `#[repr(C)]` struct of 4-byte fields that knows their offsets.
macro_rules! params {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty),* $(,)? }) => {
        /// What a dispatch tells its kernel: the shader's struct of this name, in the order of its fields.
        ///
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty),* }

        impl $name {
            pub(crate) const FIELDS: &'static [(&'static str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!($name, $field))),*];
        }
    };
}

/// A kernel's registration: stem, parameters, perhaps its list of variants, bindings in order. The twin is
/// `reference::<stem>::<stem>(&params, bindings…)`, the fast form the function of that name in `cpu`.
macro_rules! kernel {
    ($stem:ident($params:ty) [$($bindings:tt)*]) => {
        kernel! {
            @$stem($params)
            (&[$crate::kernels::Variant::new(
                "",
                include_str!(concat!("../../shaders/", stringify!($stem), ".wgsl")),
            )])
            [$($bindings)*]
        }
    };
    ($stem:ident($params:ty) in $variants:ident [$($bindings:tt)*]) => {
        kernel! { @$stem($params) ($variants) [$($bindings)*] }
    };
    (@$stem:ident($params:ty) ($variants:expr) [$($binding:ident: $access:ident $elem:ident),* $(,)?]) => {
        #[doc = concat!("`", stringify!($stem), "`: its shaders, its bindings, and its forms for CPU cores.")]
        pub static KERNEL: $crate::kernels::Kernel = $crate::kernels::Kernel {
            stem: stringify!($stem),
            variants: $variants,
            params: <$params>::FIELDS,
            bindings: &[$($crate::kernels::Binding {
                name: stringify!($binding),
                access: $crate::kernels::Access::$access,
                elem: $crate::plan::Elem::$elem,
            }),*],
            twin: on_cpu!($crate::reference::$stem::$stem, $params, [$($binding: $access $elem),*]),
            fast: on_cpu!($crate::cpu::$stem::$stem, $params, [$($binding: $access $elem),*]),
        };
    };
}

/// The text of `shaders/<path>.wgsl`.
macro_rules! shader {
    ($path:literal) => {
        include_str!(concat!("../../shaders/", $path, ".wgsl"))
    };
}

/// A function of typed parameters and slices as an [`OnCpu`].
macro_rules! on_cpu {
    ($function:path, $params:ty, [$($binding:ident: $access:ident $elem:ident),*]) => {
        |params, views| {
            let params: $params = bytemuck::pod_read_unaligned(params);
            let [$($binding),*]: [&mut [u32]; _] = views.try_into().expect("one view a binding");
            $function(&params, $($crate::kernels::argument!($access $elem $binding)),*)
        }
    };
}

macro_rules! argument {
    (Read F32 $b:ident) => {
        bytemuck::cast_slice::<u32, f32>($b)
    };
    (Write F32 $b:ident) => {
        bytemuck::cast_slice_mut::<u32, f32>($b)
    };
    (Read U32 $b:ident) => {
        &*$b
    };
    (Write U32 $b:ident) => {
        $b
    };
}

pub(crate) use argument;

macro_rules! kernels {
    ($($stem:ident),* $(,)?) => {
        $(pub mod $stem;)*

        /// The kernels that are files of their own here.
        static KERNELS: &[&Kernel] = &[$(&$stem::KERNEL),*];
    };
}

pub mod latent_update;

kernels! {
    add,
    augment,
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_reduce,
    conv2d_dot,
    conv2d_folded,
    conv2d_forward,
    conv2d_input_grad,
    conv2d_packed,
    conv2d_shift,
    conv2d_weight_grad,
    global_avg_pool,
    global_avg_pool_backward,
    global_avg_pool_integer,
    layer_means,
    linear,
    linear_input_grad,
    linear_weight_grad,
    magnitudes,
    max_pool,
    max_pool_backward,
    quantize,
    sgd,
    shortcut_a,
    shortcut_a_backward,
    shortcut_a_integer,
    softmax_cross_entropy,
    sum_partials,
    ternarize,
}

/// Every kernel of the program.
pub fn all() -> impl Iterator<Item = &'static Kernel> + Clone {
    KERNELS.iter().chain(latent_update::FAMILIES).copied()
}

/// The kernel of a dispatch.
///
/// # Panics
/// On a stem that no kernel has: dispatches are only made by kernels.
pub fn get(stem: &str) -> &'static Kernel {
    all().find(|k| k.stem == stem).unwrap_or_else(|| panic!("no kernel `{stem}`"))
}

/// `dispatch` adding to its gradients in place of overwriting them, where its kernel has the choice.
pub fn accumulating(dispatch: &Dispatch) -> Dispatch {
    let mut adding = dispatch.clone();
    if let Some((_, offset)) = get(dispatch.stem).params.iter().find(|(name, _)| *name == "accumulate") {
        adding.params[*offset..offset + 4].copy_from_slice(&1u32.to_le_bytes());
    }
    adding
}

/// What the host writes before each micro-batch: `shaders/shared/step.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Step {
    /// Training step, from 1.
    pub step: u32,
    /// This step's row of the log.
    pub slot: u32,
    /// Micro-batch, from 0.
    pub micro: u32,
    /// Number of the micro-batch's first image in the batch.
    pub first: u32,
    /// Low and high word of the seed.
    pub seed: [u32; 2],
    /// Learning rate.
    pub lr: f32,
    /// 1: random crop and flip.
    pub augment: u32,
}

impl Step {
    /// Its elements, of 4 bytes each.
    pub const LEN: usize = size_of::<Step>() / 4;

    pub(crate) fn from_words(words: &[u32]) -> Step {
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(words))
    }
}

/// The hyperparameters of an update that are fixed for a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    pub momentum: f32,
    pub weight_decay: f32,
    /// Of the dense-weight regularizer.
    pub alpha: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_fold_past_65535() {
        assert_eq!(fold(1), [1, 1]);
        assert_eq!(fold(0), [1, 1]);
        assert_eq!(fold(65_535), [65_535, 1]);
        for groups in [65_536, 131_070, 131_071, 1_000_003] {
            let [x, y] = fold(groups);
            assert!(x <= 65_535 && (x * y) as usize >= groups && ((x - 1) * y) < groups as u32);
        }
    }
}
