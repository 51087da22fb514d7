//! The updates of the weight families, each for all weights of the network at once: one kernel a family,
//! `shaders/update/<family>.wgsl`, with one interface, `shaders/shared/latent_update.wgsl`.

use super::softmax_cross_entropy::STATUS_LEN;
use super::{Access, BLOCK, Binding, Hyper, Kernel, Step, Variant};
use crate::error::Result;
use crate::method::{Family, families};
use crate::plan::{Dispatch, Elem, View};

params! {
    Params {
        quads: u32,
        /// Latents of a weight.
        planes: u32,
        /// [`Family::form`]; gates at most 30, shifts at most 126.
        form: u32,
        /// 1: changes of magnitude are counted.
        counted: u32,
        momentum: f32,
        weight_decay: f32,
        alpha: f32,
    }
}

/// What is counted for each layer: signs that flipped, weights that went to or from 0, nonzero weights whose magnitude changed.
pub const COUNTERS: usize = 3;

/// Declares the kernels of the families, with the interface that they share.
macro_rules! updates {
    ($($family:ident: $ty:ident),* $(,)?) => {
        updates! {
            @all [
                step: Read U32, status: Read U32, layers: Read U32, dw: Read F32,
                momenta: Write F32, latents: Write F32, w: Write F32, changes: Write U32
            ]
            $($family: $ty),*
        }
    };
    (@all $bindings:tt $($family:ident: $ty:ident),*) => {
        const BINDINGS: &[Binding] = updates!(@interface $bindings);

        $(
            #[allow(non_upper_case_globals)]
            static $family: Kernel = Kernel {
                stem: concat!(stringify!($family), "_update"),
                variants: &[Variant::new(
                    "",
                    include_str!(concat!("../../shaders/update/", stringify!($family), ".wgsl")),
                )],
                params: Params::FIELDS,
                bindings: BINDINGS,
                twin: on_cpu!(
                    $crate::reference::latent_update::update::<$crate::method::$family::$ty>, Params, $bindings
                ),
                fast: updates!(@fast $family, $ty, $bindings),
            };
        )*

        /// The kernel of every family.
        pub static FAMILIES: &[&Kernel] = &[$(&$family),*];
    };
    (@interface [$($binding:ident: $access:ident $elem:ident),*]) => {
        &[$(Binding { name: stringify!($binding), access: Access::$access, elem: Elem::$elem }),*]
    };
    // A family whose fast form is its own.
    (@fast s3, $ty:ident, $bindings:tt) => {
        on_cpu!($crate::cpu::s3_update::s3_update, Params, $bindings)
    };
    (@fast $family:ident, $ty:ident, $bindings:tt) => {
        on_cpu!($crate::cpu::latent_update::update::<$crate::method::$family::$ty>, Params, $bindings)
    };
}

families!(updates);

/// The tensors of one range of weights: `len` weights, a multiple of [`BLOCK`].
#[derive(Clone, Copy, Debug)]
pub struct Tensors {
    /// (len / [`BLOCK`]): the layer of each block.
    pub layers: View,
    /// (len): dL/dw.
    pub dw: View,
    /// (planes + 1, len): the last plane is the step at which each weight's sign last flipped, 0 where it never did.
    pub momenta: View,
    /// (planes, len), the first of which carries the signs.
    pub latents: View,
    /// (len): the discrete weights.
    pub w: View,
    /// (layers, [`COUNTERS`]), wrapping.
    pub changes: View,
}

/// From dL/dw to new latents and weights of `family`: chain rule (straight-through estimator), dense-weight regularizer, weight
/// decay, momentum, step. Does nothing once `status` is set.
pub fn dispatch(
    label: &str,
    family: &dyn Family,
    hyper: Hyper,
    [step, status]: [View; 2],
    t: Tensors,
) -> Result<Dispatch> {
    let len = t.w.len;
    let planes = family.latents().len();
    let params = Params {
        quads: len as u32 / 4,
        planes: planes as u32,
        form: family.form(),
        counted: family.alphabet().is_some_and(|alphabet| alphabet.lowest.is_some()).into(),
        momentum: hyper.momentum,
        weight_decay: hyper.weight_decay,
        alpha: hyper.alpha,
    };
    let views = [
        (step, Step::LEN),
        (status, STATUS_LEN),
        (t.layers, len / BLOCK),
        (t.dw, len),
        (t.momenta, (planes + 1) * len),
        (t.latents, planes * len),
        (t.w, len),
        (t.changes, t.changes.len),
    ];
    let kernel =
        FAMILIES.iter().find(|kernel| kernel.stem == family.kernel()).expect("every family has a kernel");
    kernel.dispatch(label, params, &views, len / 4, planes * len * 8)
}
