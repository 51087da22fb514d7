//! Batch norms folded into a scale and a bias of the convolution before them.

use super::{Conv, Model};
use crate::data::Input;
use crate::error::{Error, Result};
use crate::kernels::batch_norm::EPS;
use crate::method::Method;
use crate::model::fuse::{self, Unit};
use crate::model::graph::Op;
use crate::model::state::Tensors;
use crate::model::{Arch, Shortcut, weights};
use std::collections::BTreeMap;
use std::path::Path;

/// The model of plain weights (see [`weights::discretize`]) of `arch`, whose family's weights are `method`'s. `path` is where
/// they came from, for errors.
///
/// scale = gamma / sqrt(running_var + eps), bias = beta - running_mean scale, computed in f64. Weights of an alphabet become whole
/// numbers: the smallest power of two of each layer goes into the scale.
///
/// # Errors
/// [`Error::Checkpoint`] where they do not fit the network.
pub fn fold(
    (arch, shortcut): (Arch, Shortcut),
    method: Method,
    input: Input,
    (path, tensors): (&Path, &Tensors),
) -> Result<Model> {
    let graph = arch.build(shortcut, input.image, input.classes.len())?;
    weights::check_fits(arch, &graph, (path, tensors))?;
    let values = |name: String| tensors[&name].1.clone();
    let mut convs = BTreeMap::new();
    for unit in fuse::units(&graph)? {
        let Unit::Norm(norm) = unit else { continue };
        let (conv, norm) = (&graph.nodes[norm.conv], &graph.nodes[norm.norm].name);
        let of_norm = |suffix: &str| values(format!("{norm}.{suffix}"));
        let [gamma, beta] = ["weight", "bias"].map(of_norm);
        let [mean, variance] = ["running_mean", "running_var"].map(of_norm);
        let scale: Vec<f64> = gamma
            .iter()
            .zip(&variance)
            .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + EPS).sqrt())
            .collect();
        let bias = |k: usize| (f64::from(beta[k]) - f64::from(mean[k]) * scale[k]) as f32;
        let (shape, weight) = &tensors[&format!("{}.weight", conv.name)];
        let alphabet =
            method.family().alphabet().filter(|_| matches!(conv.op, Op::Conv { family: true, .. }));
        let alphabet = alphabet.filter(|alphabet| alphabet.holds(weight));
        let (weights, lowest) = alphabet.map_or_else(|| (weight.clone(), 0), |a| a.scaled(weight));
        let unit = f64::from(lowest).exp2();
        let folded = Conv {
            weight: weights,
            shape: shape[..].try_into().expect("the shapes were compared"),
            bias: (0..scale.len()).map(bias).collect(),
            scale: scale.iter().map(|&scale| (scale * unit) as f32).collect(),
            discrete: alphabet.is_some(),
        };
        if !folded.scale.iter().chain(&folded.bias).all(|v| v.is_finite()) {
            let problem =
                format!("{norm} has statistics that no batch norm has: its scale or shift is not finite");
            return Err(Error::checkpoint(path, problem, "Give a checkpoint that evaluates well"));
        }
        convs.insert(conv.name.clone(), folded);
    }
    let fc = ["fc.weight", "fc.bias"].map(|name| values(name.into()));
    Ok(Model { arch, shortcut, method, input, convs, fc, exponents: None })
}
