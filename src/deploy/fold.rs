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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DatasetName;
    use crate::method::MethodName;
    use crate::model::params::Store;
    use crate::model::state;
    use crate::plan::Plan;

    /// ResNet-8 with the same numbers in all layers.
    fn folded(method: Method, weight: f32, variance: f32) -> Result<Model> {
        let input = DatasetName::Synthetic.input().expect("it is always the same");
        let (arch, shortcut): (Arch, _) = ("resnet8".parse()?, Shortcut::default());
        let graph = arch.build(shortcut, input.image, input.classes.len())?;
        let parameters = Store::new(&mut Plan::default(), &graph, None, u64::MAX, false);
        let mut tensors = Tensors::new();
        for (name, shape) in state::manifest(&parameters) {
            let value = match name.rsplit_once('.').expect("names have two parts") {
                (_, "running_var") => variance,
                (_, "running_mean") => 3.0,
                (_, "bias") => 0.5,
                (norm, "weight") if norm.contains("bn") => 2.0,
                _ => weight,
            };
            let len = shape.iter().product();
            tensors.insert(name, (shape, vec![value; len]));
        }
        fold((arch, shortcut), method, input, (Path::new("x"), &tensors))
    }

    #[test]
    fn scale_and_bias_by_hand() {
        let of = |name, bits, weight, variance| {
            let method = Method::new(name, bits).expect("legal");
            let model = folded(method, weight, variance).expect("it fits");
            let [first, block] = ["conv1", "layer1.0.conv1"].map(|name| model.convs[name].clone());
            assert_eq!((first.weight[0], first.discrete), (weight, false), "the stem's weights are real");
            [first, block].map(|conv| (conv.weight[0], conv.scale[0], conv.bias[0], conv.discrete))
        };
        // 2 / sqrt(3.99999 + 1e-5) = 1.
        let [_, block] = of(MethodName::S3, 3, -4.0, 3.99999);
        assert_eq!(block, (-4.0, 1.0, -2.5, true));
        // The smallest power of two of DeepShift-Q at 3 bits, 1/8, goes into the scale, and not into the bias.
        let [first, block] = of(MethodName::DeepShiftQ, 3, -0.5, 3.99999);
        assert_eq!((first.1, first.2), (1.0, -2.5));
        assert_eq!(block, (-4.0, 0.125, -2.5, true));
        // Beside a small variance eps is not small: 2 / sqrt(1e-5 + 1e-5).
        let [_, block] = of(MethodName::S3, 3, 1.0, 1e-5);
        assert!(
            (block.1 - 447.2136).abs() < 1e-3 && (block.2 - (0.5 - 3.0 * 447.2136)).abs() < 1e-2,
            "{block:?}"
        );
        // Weights that are not of the alphabet stay as they are.
        let [_, block] = of(MethodName::S3, 3, 0.3, 3.99999);
        assert_eq!((block.0, block.3), (0.3, false));
    }

    #[test]
    fn statistics_that_no_batch_norm_has_are_refused() {
        for variance in [-1.0, f32::NAN] {
            let error = folded(Method::FP32, 1.0, variance).expect_err("no scale").to_string();
            assert!(error.contains("bn1 has statistics that no batch norm has"), "{error}");
        }
    }
}
