//! The packed file: a model whose discrete weights take b bits each. docs/packed.md is its description.

use super::{Conv, Model};
use crate::data::{Input, SIDES};
use crate::error::{Error, Result};
use crate::method::{Alphabet, Method, MethodName};
use crate::model::container::{self, Kind};
use crate::model::graph::Op;
use crate::model::{Arch, Shortcut};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

const KIND: Kind = Kind { key: "shiftnet_packed", version: 1, name: "a packed model of shiftnet" };
const REMEDY: &str = "Export it again with `shiftnet export RUN --format packed`";

/// The most classes that a file may have.
const CLASSES: usize = 100_000;

/// What the metadata holds beside checksums and version.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    arch: Arch,
    shortcut: Shortcut,
    method: MethodName,
    bits: u32,
    input: Input,
    exponents: Option<BTreeMap<String, [i32; 2]>>,
}

/// A tensor's type, shape and bytes.
type Entry = (Dtype, Vec<usize>, Vec<u8>);

/// The bytes of `model` as a packed file.
///
/// # Errors
/// [`Error::Usage`] for a network without discrete weights, and for what [`decode`] would refuse.
pub fn encode(model: &Model) -> Result<Vec<u8>> {
    let check = || {
        check_contents(&model.input, model.exponents.as_ref())?;
        let of_convs = model.convs.values().flat_map(|conv| [&conv.weight, &conv.scale, &conv.bias]);
        match of_convs.chain(&model.fc).flatten().all(|value| value.is_finite()) {
            true => Ok(()),
            false => Err("has values that are not finite".to_string()),
        }
    };
    check()
        .map_err(|problem| Error::Usage(format!("the network {problem}: no packed file may hold that")))?;
    bytes_of(model)
}

/// [`encode`], whatever the values are.
fn bytes_of(model: &Model) -> Result<Vec<u8>> {
    let Some(alphabet) = model.method.family().alphabet() else {
        return Err(Error::Usage(
            "a full-precision network has no weights to pack: use --format safetensors or onnx".into(),
        ));
    };
    // All convolutions but the stem are a stage's, whose names have a dot.
    if let Some((name, _)) = model.convs.iter().find(|(name, conv)| !conv.discrete && name.contains('.')) {
        return Err(Error::Usage(format!("{name} has weights that are not of {}", model.method)));
    }
    let broken = model.convs.iter().find(|(_, conv)| conv.weight.is_empty() || !conv.is_whole());
    let [weight, bias] = &model.fc;
    if bias.is_empty() || weight.len() % bias.len() > 0 || broken.is_some() {
        let name = broken.map_or("fc", |(name, _)| name);
        return Err(Error::Usage(format!(
            "the model's weights of {name} are not as many as their shape says"
        )));
    }
    let floats = |shape: &[usize], values: &[f32]| {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        (Dtype::F32, shape.to_vec(), bytes)
    };
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for (name, conv) in &model.convs {
        let k = conv.shape[0];
        let (suffix, weight) = match conv.discrete {
            true => {
                let len = conv.weight.len() / k;
                let words = alphabet.planes(&along_taps(conv), len).ok_or_else(|| {
                    Error::Usage(format!("{name} has weights that are not of {}", model.method))
                })?;
                let shape = vec![k, len.div_ceil(32), alphabet.bits as usize];
                ("codes", (Dtype::U32, shape, words.iter().flat_map(|w| w.to_le_bytes()).collect()))
            }
            false => ("weight", floats(&conv.shape, &conv.weight)),
        };
        entries.insert(format!("{name}.{suffix}"), weight);
        entries.insert(format!("{name}.scale"), floats(&[k], &conv.scale));
        entries.insert(format!("{name}.bias"), floats(&[k], &conv.bias));
    }
    entries.insert("fc.weight".into(), floats(&[bias.len(), weight.len() / bias.len()], weight));
    entries.insert("fc.bias".into(), floats(&[bias.len()], bias));
    let header = Header {
        arch: model.arch,
        shortcut: model.shortcut,
        method: model.method.name,
        bits: model.method.bits,
        input: model.input.clone(),
        exponents: model.exponents.clone(),
    };
    let views = entries.iter().map(|(name, (dtype, shape, bytes))| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).expect("shapes match their values");
        (name.clone(), view)
    });
    let json = serde_json::to_value(header).expect("plain data");
    container::encode(KIND, &views.collect(), json).map_err(|e| Error::Usage(format!("packed model: {e}")))
}

/// Whether `bytes`, the first ones of a file or all, are a packed file's.
pub fn begins(bytes: &[u8]) -> bool {
    container::begins(KIND, bytes)
}

/// Whether `path` is a packed file, intact or not.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read.
pub fn is_file(path: &Path) -> Result<bool> {
    if !path.is_file() {
        return Ok(false);
    }
    let mut first = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(256).read_to_end(&mut first));
    read.map_err(|e| Error::io("read", path, e))?;
    Ok(begins(&first))
}

/// Bytes that a convolution takes in a packed file: weights, scales and biases.
pub fn conv_bytes(conv: &Conv, alphabet: Option<&Alphabet>) -> usize {
    let k = conv.shape[0];
    let weights = match alphabet.filter(|_| conv.discrete) {
        Some(alphabet) => k * alphabet.plane_words(conv.weight.len() / k),
        None => conv.weight.len(),
    };
    4 * (weights + 2 * k)
}

/// Reads a packed file.
///
/// # Errors
/// [`Error::Io`], and [`Error::Checkpoint`] where any byte is not what was written, or it is not a model that this program runs.
pub fn read(path: &Path) -> Result<Model> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    decode(&bytes).map_err(|problem| Error::checkpoint(path, problem, REMEDY))
}

/// The model of a packed file's bytes.
///
/// # Errors
/// What is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<Model, String> {
    let (file, json) = container::decode(KIND, bytes)?;
    let header: Header =
        serde_json::from_value(json).map_err(|e| format!("has metadata that cannot be used ({e})"))?;
    let Header { arch, shortcut, method, bits, input, exponents } = header;
    let method = Method::new(method, bits).map_err(|e| e.to_string())?;
    let alphabet = method.family().alphabet().ok_or("has no discrete weights")?;
    check_contents(&input, exponents.as_ref())?;
    let graph = arch.build(shortcut, input.image, input.classes.len()).map_err(|e| e.to_string())?;
    let reader = Reader { file: &file, alphabet };
    let (mut convs, mut tensors) = (BTreeMap::new(), 0);
    for node in &graph.nodes {
        if let (Op::Conv { family, .. }, Some(shape)) = (node.op, graph.weight_shape(node)) {
            convs.insert(node.name.clone(), reader.conv(&node.name, shape, family)?);
            tensors += 3;
        }
    }
    let classes = input.classes.len();
    let width = graph.nodes.iter().rev().nth(1).map_or(0, |node| node.shape[2]);
    let fc = [reader.floats("fc.weight", &[classes, width])?, reader.floats("fc.bias", &[classes])?];
    tensors += 2;
    if file.len() != tensors {
        return Err(format!("has {} tensors where {arch} has {tensors}", file.len()));
    }
    Ok(Model { arch, shortcut, method, input, convs, fc, exponents })
}

/// Whether a packed file may hold these.
fn check_contents(input: &Input, exponents: Option<&BTreeMap<String, [i32; 2]>>) -> Result<(), String> {
    let Input { classes, image, mean, std } = input;
    if image.iter().any(|side| !SIDES.contains(side)) {
        return Err(format!("asks for images of {} x {}", image[0], image[1]));
    }
    if !(1..=CLASSES).contains(&classes.len()) {
        return Err(format!("has {} classes", classes.len()));
    }
    if !mean.iter().all(|m| m.is_finite()) || !std.iter().all(|s| s.is_finite() && *s > 0.0) {
        return Err("has a normalization that is none".into());
    }
    if exponents.into_iter().flatten().any(|(_, e)| e.iter().any(|e| e.unsigned_abs() > 64)) {
        return Err("has ranges of activations that no network has".into());
    }
    Ok(())
}

/// Weights (K, C, R, S) as rows (K) of (R, S, C), the order of a convolution's sum.
fn along_taps(conv: &Conv) -> Vec<f32> {
    let [k, c, r, s] = conv.shape;
    let at = |k: usize, tap: usize, channel: usize| conv.weight[(k * c + channel) * r * s + tap];
    (0..k)
        .flat_map(|k| (0..r * s).flat_map(move |tap| (0..c).map(move |channel| (k, tap, channel))))
        .map(|(k, tap, channel)| at(k, tap, channel))
        .collect()
}

/// The inverse of [`along_taps`].
fn along_channels(rows: &[f32], [k, c, r, s]: [usize; 4]) -> Vec<f32> {
    let mut weight = vec![0.0; rows.len()];
    for (i, &w) in rows.iter().enumerate() {
        let (row, tap, channel) = (i / (c * r * s), i / c % (r * s), i % c);
        weight[(row * c + channel) * r * s + tap] = w;
    }
    debug_assert_eq!(weight.len(), k * c * r * s);
    weight
}

struct Reader<'a> {
    file: &'a SafeTensors<'a>,
    alphabet: Alphabet,
}

impl Reader<'_> {
    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let values: Vec<f32> = self.words(name, Dtype::F32, shape)?.into_iter().map(f32::from_bits).collect();
        match values.iter().all(|v| v.is_finite()) {
            true => Ok(values),
            false => Err(format!("has values in {name} that are not finite")),
        }
    }

    fn words(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Vec<u32>, String> {
        let view = self.file.tensor(name).map_err(|_| format!("has no {name}"))?;
        if view.dtype() != dtype || view.shape() != shape {
            let (got, of) = (view.shape(), view.dtype());
            return Err(format!(
                "has {name} of shape {got:?} and type {of:?} where {shape:?} and {dtype:?} are needed"
            ));
        }
        Ok(view.data().as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect())
    }

    fn conv(&self, name: &str, shape: [usize; 4], discrete: bool) -> Result<Conv, String> {
        let [k, c, r, s] = shape;
        let weight = match discrete {
            true => {
                let len = c * r * s;
                let stored = [k, len.div_ceil(32), self.alphabet.bits as usize];
                let words = self.words(&format!("{name}.codes"), Dtype::U32, &stored)?;
                let rows = self.alphabet.from_planes(&words, len);
                along_channels(&rows.map_err(|problem| format!("{name}.codes {problem}"))?, shape)
            }
            false => self.floats(&format!("{name}.weight"), &shape)?,
        };
        let of_channels = |suffix: &str| self.floats(&format!("{name}.{suffix}"), &[k]);
        Ok(Conv { weight, shape, scale: of_channels("scale")?, bias: of_channels("bias")?, discrete })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::cifar;
    use crate::deploy::compile::{Arith, Inference, Options};
    use crate::engine::Target;
    use crate::kernels::choose::Choices;
    use crate::rng::{Draws, Stream};
    use rayon::prelude::*;

    fn alphabet(bits: u32) -> Alphabet {
        Method::new(MethodName::S3, bits).expect("legal").family().alphabet().expect("discrete")
    }

    /// A small model of drawn weights, with every part that a file can have.
    pub fn model(arch: &str, shortcut: Shortcut, bits: u32) -> Model {
        let (arch, input) = (arch.parse::<Arch>().expect("known"), cifar::input());
        let graph = arch.build(shortcut, input.image, input.classes.len()).expect("legal");
        let alphabet = alphabet(bits);
        let mut draws = Draws::new(3, Stream::Synthetic, 0, bits);
        let mut convs = BTreeMap::new();
        for node in &graph.nodes {
            let (Op::Conv { family, .. }, Some(shape)) = (node.op, graph.weight_shape(node)) else {
                continue;
            };
            let weight = |draws: &mut Draws| match family {
                true => std::iter::repeat_with(|| alphabet.of_code(draws.below(1 << bits)))
                    .flatten()
                    .next()
                    .expect("endless"),
                false => draws.normal(),
            };
            let weight = (0..shape.iter().product()).map(|_| weight(&mut draws)).collect();
            let [scale, bias] = [0, 1].map(|_| (0..shape[0]).map(|_| draws.normal()).collect());
            convs.insert(node.name.clone(), Conv { weight, shape, scale, bias, discrete: family });
        }
        let fc = [640, 10].map(|len| (0..len).map(|_| draws.normal()).collect());
        let exponents = Some(BTreeMap::from([("relu".to_string(), [5, 13])]));
        let method = Method::new(MethodName::S3, bits).expect("legal");
        Model { arch, shortcut, method, input, convs, fc, exponents }
    }

    #[test]
    fn models_come_back_as_they_were() {
        for (bits, shortcut) in [(2, Shortcut::A), (3, Shortcut::B), (4, Shortcut::B), (5, Shortcut::A)] {
            let model = model("resnet8", shortcut, bits);
            let bytes = encode(&model).expect("discrete weights");
            assert_eq!(decode(&bytes).as_ref(), Ok(&model));
            let tensors: usize =
                model.convs.values().map(|conv| conv_bytes(conv, Some(&alphabet(bits)))).sum();
            let data = bytes.len() - container::header_len(&bytes).expect("just written");
            assert_eq!(data, tensors + 4 * 650);
        }
    }

    /// At most b bits a weight and 4 %, beside what is not discrete; the header at most 12 kB.
    #[test]
    fn files_are_small() {
        for bits in 2..=5 {
            let model = model("resnet20", Shortcut::B, bits);
            let bytes = encode(&model).expect("discrete weights");
            let header = container::header_len(&bytes).expect("just written");
            assert!(header <= 12 << 10, "a header of {header} bytes");
            let [_, discrete] = model.weights();
            let codes: usize = model
                .convs
                .values()
                .filter(|conv| conv.discrete)
                .map(|conv| conv_bytes(conv, Some(&alphabet(bits))) - 8 * conv.shape[0])
                .sum();
            assert!(codes as f64 * 8.0 <= discrete as f64 * f64::from(bits) * 1.04, "{codes} bytes");
            assert!(bits != 3 || bytes.len() < 130_000, "{} bytes", bytes.len());
        }
    }

    /// Any flipped bit and any truncation is an error, never a panic, at every byte.
    #[test]
    fn damage_is_noticed_everywhere() {
        let bytes = encode(&model("resnet8", Shortcut::B, 2)).expect("discrete weights");
        (0..bytes.len()).into_par_iter().for_each(|i| {
            assert!(decode(&bytes[..i]).is_err(), "truncated to {i}");
            let mut damaged = bytes.clone();
            damaged[i] ^= 1 << (i % 8);
            assert!(decode(&damaged).is_err(), "byte {i} of {}", bytes.len());
        });
    }

    #[test]
    fn nothing_makes_the_reader_panic() {
        let bytes = encode(&model("resnet8", Shortcut::A, 3)).expect("discrete weights");
        // What it takes must also compile, or be refused.
        let compile = |model: Model| {
            for arith in [Arith::Float, Arith::Shift { bits: 8 }, Arith::Shift { bits: 16 }, Arith::Dp4a] {
                let capabilities = Target::host().capabilities();
                let options = Options { batch: 1, arith, unpacked: false, capabilities };
                let _ = Inference::compile(&model, options, &Choices::default());
            }
        };
        let mut taken = 0;
        let refused = container::fuzz(&bytes, |bytes| {
            let model = decode(bytes);
            let whole = model.is_ok();
            model.into_iter().for_each(compile);
            taken += usize::from(whole);
            whole
        });
        assert!(refused > 100 && taken > 5, "{refused} refused, {taken} taken");
    }

    /// Files with right checksums that are no models.
    #[test]
    fn hostile_files_are_refused() {
        let good = model("resnet8", Shortcut::B, 3);
        let say = |change: &dyn Fn(&mut Model)| {
            let mut model = good.clone();
            change(&mut model);
            let written = encode(&model);
            let refused = decode(&bytes_of(&model).expect("discrete weights")).expect_err("it is no model");
            (refused, written)
        };
        type Change<'a> = &'a dyn Fn(&mut Model);
        let cases: [(Change, &str); 9] = [
            (&|m| m.input.image = [usize::MAX, 32], "images of"),
            (&|m| m.input.image = [0, 32], "images of"),
            (&|m| m.input.classes.clear(), "0 classes"),
            (&|m| m.input.classes.push("more".into()), "fc.weight"),
            (&|m| m.input.std[1] = 0.0, "normalization"),
            (&|m| m.arch = "resnet14".parse().expect("known"), "has no layer1.1.conv1"),
            (&|m| m.convs.get_mut("layer2.0.conv2").expect("a layer").scale[3] = f32::NAN, "not finite"),
            (&|m| _ = m.exponents.insert(BTreeMap::from([("relu".into(), [1 << 30, 0])])), "ranges"),
            (&|m| _ = m.exponents.insert(BTreeMap::from([("relu".into(), [0, i32::MIN])])), "ranges"),
        ];
        for (change, expected) in cases {
            let (message, written) = say(change);
            assert!(message.contains(expected), "{message}, not {expected}");
            // What shapes alone tell is left to the reader.
            let of_shapes = message.contains("fc.weight") || message.contains("has no layer");
            assert!(
                of_shapes || written.is_err_and(|e| e.to_string().contains(expected)),
                "{expected}: written, then refused"
            );
        }
        let mut more = good.clone();
        let extra = more.convs["conv1"].clone();
        more.convs.insert("conv2".into(), extra);
        assert!(decode(&encode(&more).expect("it can be written")).is_err_and(|e| e.contains("tensors")));
        let plain = Model { method: Method::FP32, ..good.clone() };
        assert!(encode(&plain).is_err());
        let mut short = good;
        short.convs.get_mut("conv1").expect("a layer").bias.pop();
        assert!(encode(&short).is_err() && short.graph().is_err());
    }
}
