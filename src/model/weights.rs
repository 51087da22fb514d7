//! Weight files: safetensors and PyTorch's own, with torchvision's names, the names of other ResNet code, and those of S³'s
//! demo code.

use super::graph::Graph;
use super::latents::LAST_FLIP;
use super::params::Store;
use super::state::{self, MOMENTUM, Tensors};
use super::{Arch, torch};
use crate::error::{Error, Result};
use crate::method::{self, Method, s3};
use crate::plan::Plan;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Reads the tensors of a safetensors file (f32, f16 or bf16) or of a PyTorch file under torchvision's names. Momenta are left
/// out.
///
/// # Errors
/// [`Error::Checkpoint`] where the file is neither, two of its names mean the same tensor, or one has a value that is not finite.
pub fn read(path: &Path) -> Result<Tensors> {
    parse(path, &std::fs::read(path).map_err(|e| Error::io("read", path, e))?)
}

/// [`read`] of a file's `bytes`; PyTorch files are read again from `path`.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Tensors> {
    let foreign = |problem: String| {
        Error::checkpoint(path, problem, "Give a file with a ResNet's weights, or a run's directory")
    };
    let own = match torch::is_torch(bytes) {
        true => torch::read(path)?,
        false => of_safetensors(bytes).map_err(foreign)?,
    };
    let mut tensors = Tensors::new();
    for (name, tensor) in own {
        if name.ends_with("num_batches_tracked")
            || [MOMENTUM, LAST_FLIP].iter().any(|own| name.starts_with(own))
        {
            continue;
        }
        let name = canonical(&name);
        if !tensor.1.iter().all(|value| value.is_finite()) {
            return Err(foreign(format!("holds {name} with values that are not finite")));
        }
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(foreign(format!("two of its tensors mean {name}")));
        }
    }
    rename_demo_latents(tensors).map_err(foreign)
}

/// `tensors` as a safetensors file.
///
/// # Errors
/// [`Error::Usage`] for a tensor whose values are not as many as its shape says, and where safetensors refuses them.
pub fn encode(tensors: &Tensors) -> Result<Vec<u8>> {
    safetensors::serialize(views(tensors)?, None).map_err(|e| Error::Usage(format!("safetensors: {e}")))
}

/// `tensors` as safetensors has them.
///
/// # Errors
/// [`Error::Usage`] for one whose values are not as many as its shape says.
pub(crate) fn views(tensors: &Tensors) -> Result<BTreeMap<String, TensorView<'_>>> {
    let mut views = BTreeMap::new();
    for (name, (shape, values)) in tensors {
        let view =
            TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values)).map_err(|_| {
                Error::Usage(format!(
                    "{name} has {} values, which do not fill its shape {shape:?}",
                    values.len()
                ))
            })?;
        views.insert(name.clone(), view);
    }
    Ok(views)
}

/// The tensors of a safetensors file's bytes, by their own names.
fn of_safetensors(bytes: &[u8]) -> Result<Tensors, String> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| format!("is neither a whole safetensors file ({e}) nor a PyTorch file"))?;
    let mut tensors = Tensors::new();
    for (name, view) in file.tensors() {
        match floats(view.dtype(), view.data()) {
            Some(values) => tensors.insert(name, (view.shape().to_vec(), values)),
            None if name.ends_with("num_batches_tracked") => None,
            None => return Err(format!("{name} is {:?}, but must be f32, f16 or bf16", view.dtype())),
        };
    }
    Ok(tensors)
}

/// `bytes` as f32, where the type is a float of at most 32 bits.
fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => bytemuck::pod_collect_to_vec(bytes),
        Dtype::F16 => {
            bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        Dtype::BF16 => {
            bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        _ => return None,
    })
}

/// torchvision's name of a tensor: without `module.`, `fc` for `linear`, `downsample` for `shortcut`.
fn canonical(name: &str) -> String {
    let name = name.strip_prefix("module.").unwrap_or(name);
    let part = |part| match part {
        "linear" => "fc",
        "shortcut" => "downsample",
        other => other,
    };
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// The S³ demo code's latents: `weight` (sign), `weight_val` (sparse), `weight_shift2` (t1, the inner),
/// `weight_shift` (t2), where a convolution has all four.
fn rename_demo_latents(mut tensors: Tensors) -> Result<Tensors, String> {
    let layers: Vec<String> =
        tensors.keys().filter_map(|name| name.strip_suffix(".weight_val").map(str::to_string)).collect();
    for layer in layers {
        let old = ["weight", "weight_val", "weight_shift2", "weight_shift"].map(|s| format!("{layer}.{s}"));
        let sign = format!("{layer}.weight_sign");
        if let (false, Some(values)) = (tensors.contains_key(&old[0]), tensors.get(&sign)) {
            tensors.insert(old[0].clone(), values.clone());
        }
        if !old.iter().all(|name| tensors.contains_key(name)) {
            continue;
        }
        if tensors.get(&sign).is_some_and(|values| *values != tensors[&old[0]]) {
            return Err(format!("{layer}.weight and {sign} are the same latent, but differ"));
        }
        for (old, new) in old.iter().zip(s3::latent_names(2)) {
            if let Some(values) = tensors.remove(old) {
                tensors.insert(format!("{layer}.{new}"), values);
            }
        }
    }
    Ok(tensors)
}

/// The layers of `tensors` that have latents, with their suffixes in order.
fn layers_with_latents(tensors: &Tensors) -> BTreeMap<String, BTreeSet<String>> {
    let mut layers = BTreeMap::<String, BTreeSet<String>>::new();
    for (layer, suffix) in tensors.keys().filter_map(|name| name.rsplit_once('.')) {
        if suffix.starts_with("weight_") {
            layers.entry(layer.to_string()).or_default().insert(suffix.to_string());
        }
    }
    layers
}

/// The methods whose weights have these latents, which differ in their bits alone.
fn methods_of(suffixes: &BTreeSet<String>) -> Vec<Method> {
    let has = |method: &Method| method.family().latents().into_iter().collect::<BTreeSet<_>>() == *suffixes;
    Method::all().filter(has).collect()
}

/// The latents of `tensors` as plain discrete weights, whatever their family and bits: what evaluation reads.
///
/// # Errors
/// A description of the layer whose latents are not complete.
pub fn discretize(mut tensors: Tensors) -> Result<Tensors, String> {
    tensors.retain(|name, _| !name.starts_with(LAST_FLIP));
    for (layer, suffixes) in layers_with_latents(&tensors) {
        let methods = methods_of(&suffixes);
        let Some(method) = methods.first() else {
            let found: Vec<_> = suffixes.into_iter().collect();
            return Err(format!("{layer} has {}, which are not the latents of any method", found.join(", ")));
        };
        let family = method.family();
        let latent = |suffix: &String| tensors.remove(&format!("{layer}.{suffix}"));
        let planes: Vec<_> = family.latents().iter().filter_map(latent).collect();
        let shape = planes[0].0.clone();
        if planes.iter().any(|plane| plane.0 != shape) {
            return Err(format!("the latents of {layer} have different shapes"));
        }
        if planes.iter().any(|plane| plane.1.len() != shape.iter().product::<usize>()) {
            return Err(format!("the latents of {layer} have not as many values as their shape says"));
        }
        let values: Vec<&[f32]> = planes.iter().map(|(_, values)| values.as_slice()).collect();
        let weights = method::weights(family.as_ref(), &values);
        tensors.insert(format!("{layer}.weight"), (shape, weights));
    }
    Ok(tensors)
}

/// The method whose tensors these are: that of its latents, at the fewest bits that have the weights of all layers; else full
/// precision.
pub fn method_of(tensors: &Tensors) -> Method {
    let Some((_, suffixes)) = layers_with_latents(tensors).pop_first() else { return Method::FP32 };
    let mut methods = methods_of(&suffixes);
    if let ([_, _, ..], Ok(plain)) = (&methods[..], discretize(tensors.clone())) {
        let layers: Vec<_> = layers_with_latents(tensors).into_keys().collect();
        let weights = || layers.iter().filter_map(|layer| plain.get(&format!("{layer}.weight")));
        let holds = |method: &Method| {
            let alphabet = method.family().alphabet();
            alphabet.is_some_and(|alphabet| weights().all(|(_, weights)| alphabet.holds(weights)))
        };
        methods.retain(holds);
    }
    methods.first().copied().unwrap_or(Method::FP32)
}

/// That plain weights (see [`discretize`]) are those of `graph`, which is `arch`'s. `path` is where they came from, for errors.
///
/// # Errors
/// [`Error::Checkpoint`] with the first few that are missing, too many, or of another shape.
pub fn check_fits(arch: Arch, graph: &Graph, (path, tensors): (&Path, &Tensors)) -> Result<()> {
    let parameters = Store::new(&mut Plan::default(), graph, None, u64::MAX, false);
    match mismatch(tensors, &state::manifest(&parameters)) {
        None => Ok(()),
        Some(problem) => {
            let remedy = "Name its architecture with --arch and --shortcut";
            Err(Error::checkpoint(path, format!("does not fit {arch}: {problem}"), remedy))
        }
    }
}

/// What a network wants that `tensors` do not give, and what they have that it does not want: the first few of each kind.
/// `None` where they fit.
pub fn mismatch(tensors: &Tensors, wanted: &BTreeMap<String, Vec<usize>>) -> Option<String> {
    let extra = tensors.keys().filter(|name| !wanted.contains_key(*name)).cloned();
    let extra = some("it has ", ", which this network does not have", extra.collect());
    let parts: Vec<String> = lack(tensors, wanted).into_iter().chain(extra).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// [`mismatch`], whatever else `tensors` have.
pub fn lack(tensors: &Tensors, wanted: &BTreeMap<String, Vec<usize>>) -> Option<String> {
    let missing = wanted.keys().filter(|name| !tensors.contains_key(*name)).cloned();
    let shapes = wanted.iter().filter_map(|(name, shape)| {
        let (got, values) = tensors.get(name)?;
        match got == shape {
            false => Some(format!("{name} of shape {got:?} where {shape:?} is needed")),
            true => (values.len() != shape.iter().product::<usize>())
                .then(|| format!("{name} of shape {shape:?} with {} values", values.len())),
        }
    });
    let parts = [some("it has ", "", shapes.collect()), some("it has no ", "", missing.collect())];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The first few of `items` in words; none where there are none.
fn some(before: &str, behind: &str, items: Vec<String>) -> Option<String> {
    const SHOWN: usize = 3;
    let more = items.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    (!items.is_empty()).then(|| format!("{before}{shown}{more}{behind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(names: &[(&str, f32)]) -> Tensors {
        names.iter().map(|(name, value)| (name.to_string(), (vec![1], vec![*value]))).collect()
    }

    #[test]
    fn other_names() {
        assert_eq!(canonical("module.layer1.0.shortcut.0.weight"), "layer1.0.downsample.0.weight");
        assert_eq!(canonical("linear.bias"), "fc.bias");
    }

    #[test]
    fn values_that_are_not_finite_are_refused() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        for (value, fine) in [(1.0, true), (f32::NAN, false), (f32::INFINITY, false)] {
            let bytes = encode(&tensors(&[("c.weight", value)])).expect("valid");
            let read = parse(file.path(), &bytes);
            assert_eq!(read.is_ok(), fine);
            assert!(
                read.err().is_none_or(|e| e.to_string().contains("c.weight with values that are not finite"))
            );
        }
    }

    #[test]
    fn demo_latents_are_renamed_and_checked() {
        let demo =
            [("c.weight", -1.0), ("c.weight_val", 1.0), ("c.weight_shift2", 0.5), ("c.weight_shift", 2.0)];
        let renamed = rename_demo_latents(tensors(&demo)).expect("all four");
        assert_eq!(renamed["c.weight_t1"].1, [0.5]);
        assert_eq!(method_of(&renamed).bits, 3);
        assert_eq!(discretize(renamed).expect("complete")["c.weight"].1, [-4.0]);
        let mut twice = demo.to_vec();
        twice.push(("c.weight_sign", 3.0));
        assert!(rename_demo_latents(tensors(&twice)).is_err());
        twice[4].1 = -1.0;
        assert!(rename_demo_latents(tensors(&twice)).is_ok());
        // Three of the four are left as they are.
        assert!(rename_demo_latents(tensors(&demo[..3])).expect("untouched").contains_key("c.weight"));
    }

    /// Of a shape that its values do not fill.
    #[test]
    fn values_of_another_number_are_an_error() {
        let latents = || s3::latent_names(2).into_iter().map(|name| format!("c.{name}"));
        let mut short: Tensors = latents().map(|name| (name, (vec![2], vec![1.0, -1.0]))).collect();
        discretize(short.clone()).expect("whole");
        let last = latents().next_back().expect("four");
        short.insert(last.clone(), (vec![2], vec![1.0]));
        assert!(encode(&short).expect_err("one value").to_string().contains(&last));
        let wanted = short.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect();
        assert_eq!(mismatch(&short, &wanted), Some(format!("it has {last} of shape [2] with 1 values")));
        assert!(discretize(short).expect_err("one value").contains("not as many values"));
    }

    /// What a file can hold that is no network's.
    #[test]
    fn tensors_that_mean_nothing_are_named() {
        let demo =
            [("c.weight", -1.0), ("c.weight_val", 1.0), ("c.weight_shift2", 0.5), ("c.weight_shift", 2.0)];
        let twice = tensors(&[&demo[..], &[("c.weight_sign", 3.0)]].concat());
        let error = rename_demo_latents(twice).expect_err("two signs");
        assert_eq!(error, "c.weight and c.weight_sign are the same latent, but differ");
        let strange = tensors(&[("c.weight_sign", 1.0), ("c.weight_q", 1.0), ("d.weight", 1.0)]);
        let error = discretize(strange).expect_err("of two methods");
        assert_eq!(error, "c has weight_q, weight_sign, which are not the latents of any method");
        let mut uneven = tensors(&[("c.weight_s", 1.0), ("c.weight_p", -1.0)]);
        uneven.insert("c.weight_p".into(), (vec![2], vec![-1.0; 2]));
        assert_eq!(discretize(uneven).expect_err("two shapes"), "the latents of c have different shapes");
    }

    /// Halves of both kinds are read exactly; counters are passed over, and other integers are named.
    #[test]
    fn types_of_other_programs() {
        let file = |name: &str, dtype, bytes: &[u8]| {
            let view = TensorView::new(dtype, vec![2], bytes).expect("two values");
            of_safetensors(&safetensors::serialize([(name, view)], None).expect("valid"))
        };
        for (dtype, bytes) in [(Dtype::F16, [0, 0x3e, 0, 0xc0]), (Dtype::BF16, [0xc0, 0x3f, 0, 0xc0])] {
            let read = file("a.weight", dtype, &bytes).expect("floats");
            assert_eq!(read["a.weight"], (vec![2], vec![1.5, -2.0]), "{dtype:?}");
        }
        assert!(file("bn1.num_batches_tracked", Dtype::I64, &[0; 16]).expect("a counter").is_empty());
        let error = file("a.weight", Dtype::I64, &[0; 16]).expect_err("integers");
        assert_eq!(error, "a.weight is I64, but must be f32, f16 or bf16");
    }

    #[test]
    fn mismatches_are_described() {
        let wanted = BTreeMap::from([("a".to_string(), vec![1]), ("b".to_string(), vec![2])]);
        let say = |names| mismatch(&tensors(names), &wanted).expect("a mismatch");
        assert!(say(&[("a", 0.0), ("b", 0.0)]).contains("shape [1] where [2]"));
        assert!(say(&[("a", 0.0)]).contains("no b"));
        let all = say(&[("b", 0.0), ("c", 0.0), ("d", 0.0), ("e", 0.0), ("f", 0.0)]);
        assert_eq!(
            all,
            "it has b of shape [1] where [2] is needed; it has no a; it has c, d, e and 1 more, which this network does not have"
        );
        assert!(mismatch(&tensors(&[("a", 0.0)]), &BTreeMap::from([("a".to_string(), vec![1])])).is_none());
    }
}
