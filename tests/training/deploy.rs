//! Deployed networks: folding against the training graph, integers on both engines, sessions, ONNX Runtime.

use crate::dispatches::param;
use crate::support::{data, targets};
use shiftnet::data::{Dataset, DatasetName, InMemory, Input, Need, Source};
use shiftnet::deploy::compile::{Inference, Options};
use shiftnet::deploy::{Arith, Model, Session, calibrate, fold, onnx, packed, session};
use shiftnet::engine::{Engine, Target};
use shiftnet::kernels::choose::Choices;
use shiftnet::kernels::{Hyper, Step};
use shiftnet::method::{InitName, Method, MethodName, inq};
use shiftnet::model::state::{self, Tensors};
use shiftnet::model::{Arch, Network, Shortcut, weights};
use shiftnet::plan::{BufferId, List, View};
use shiftnet::rng::{Draws, Stream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// A network with weights as training could have left them: every scale, shift, mean and variance its own.
struct Case {
    network: (Arch, Shortcut),
    method: Method,
    input: Input,
    plain: Tensors,
}

fn options(
    method: Method,
    batch: usize,
    input: &Input,
    target: &Target,
    train: bool,
) -> shiftnet::model::Options {
    shiftnet::model::Options {
        method,
        micro_batch: batch,
        batch,
        hyper: Hyper { momentum: 0.9, weight_decay: 0.0, alpha: 0.0 },
        label_smoothing: 0.0,
        mean: input.mean,
        std: input.std,
        capabilities: target.capabilities(),
        train,
    }
}

impl Case {
    fn new(arch: &str, shortcut: Shortcut, name: MethodName, bits: u32, image: [usize; 2]) -> Case {
        let arch: Arch = arch.parse().expect("a known architecture");
        let method = Method::new(name, bits).expect("legal bits");
        let classes = (0..7).map(|i| format!("class {i}")).collect();
        let input = Input { classes, image, mean: [0.5, 0.45, 0.4], std: [0.25, 0.2, 0.3] };
        let graph = arch.build(shortcut, image, 7).expect("legal");
        let network =
            Network::compile(graph, options(method, 1, &input, &Target::host(), true)).expect("it fits");
        let mut plain = weights::discretize(state::initial(&network, InitName::Normal, 5)).expect("complete");
        let mut draws = Draws::new(11, Stream::Synthetic, 0, bits);
        // Of the sums over activations whose squares are 1 in the mean.
        let squares = |conv: &str| {
            let (shape, values) = &plain[&format!("{conv}.weight")];
            values.iter().map(|w| w * w).sum::<f32>() / shape[0] as f32
        };
        let norms = plain.keys().filter_map(|name| name.strip_suffix(".running_var"));
        let norms: Vec<(String, f32)> = norms
            .map(|norm| {
                (
                    norm.to_string(),
                    squares(&norm.replace("bn", "conv").replace("downsample.1", "downsample.0")),
                )
            })
            .collect();
        for (norm, variance) in norms {
            let mut draw = |suffix: &str, value: &dyn Fn(&mut Draws) -> f32| {
                let (_, values) =
                    plain.get_mut(&format!("{norm}.{suffix}")).expect("batch norms have all of them");
                values.iter_mut().for_each(|v| *v = value(&mut draws));
            };
            draw("running_var", &|d| d.range(0.5, 2.0) * variance);
            draw("running_mean", &|d| 0.3 * variance.sqrt() * d.normal());
            draw("weight", &|d| d.range(0.6, 1.4) * if d.below(8) == 0 { -1.0 } else { 1.0 });
            draw("bias", &|d| 0.3 * d.normal());
        }
        Case { network: (arch, shortcut), method, input, plain }
    }

    fn fold(&self) -> Model {
        fold::fold(self.network, self.method, self.input.clone(), (Path::new("case"), &self.plain))
            .expect("it fits")
    }

    /// [`Case::fold`], with ranges for integers.
    fn calibrated(&self) -> Model {
        let mut model = self.fold();
        let images = Arc::new(Images { pixels: self.images(16), len: self.input.image_bytes() });
        calibrate::calibrate(&mut model, images, &Target::host()).expect("it runs");
        model
    }

    /// n images of bytes: smooth, so that they are not only noise.
    fn images(&self, n: usize) -> Vec<u8> {
        let mut draws = Draws::new(2, Stream::Synthetic, 1, 0);
        let len = n * self.input.image_bytes();
        let wave = |i: usize| 90.0 + 60.0 * (i as f32 * 0.13).sin() + 40.0 * (i as f32 * 0.011).cos();
        (0..len).map(|i| (wave(i) + draws.range(-40.0, 40.0)) as u8).collect()
    }

    /// Logits of the graph that training evaluates.
    fn evaluated(&self, images: &[u8], target: &Target) -> Vec<f32> {
        let n = images.len() / self.input.image_bytes();
        let graph = self.network.0.build(self.network.1, self.input.image, 7).expect("legal");
        let network =
            Network::compile(graph, options(Method::FP32, n, &self.input, target, false)).expect("it fits");
        let mut engine = target.load(network.plan.clone()).expect("it loads");
        state::upload(engine.as_mut(), &network, &self.plain).expect("it fits");
        engine.write(network.io.step, bytemuck::bytes_of(&Step::default())).expect("it fits");
        engine.write(network.io.images, images).expect("it fits");
        engine.run(List::Evaluate).expect("it runs");
        let logits = network.plan.buffers.iter().position(|b| b.name == "eval fc").expect("the last layer");
        engine.fetch_f32(View { buffer: BufferId(logits), offset: 0, len: n * 7 }).expect("it can be read")
    }
}

/// Images in memory, all of class 0.
struct Images {
    pixels: Vec<u8>,
    len: usize,
}

impl Dataset for Images {
    fn len(&self) -> usize {
        self.pixels.len() / self.len
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> shiftnet::Result<u32> {
        pixels.copy_from_slice(&self.pixels[index * self.len..][..self.len]);
        Ok(0)
    }
}

const S3: MethodName = MethodName::S3;

/// Folding changes roundings and nothing else.
#[test]
fn folded_logits_are_those_of_the_training_graph() {
    let cases = [
        Case::new("resnet8", Shortcut::B, S3, 3, [32, 28]),
        Case::new("resnet8", Shortcut::A, S3, 2, [32, 32]),
        Case::new("resnet8", Shortcut::B, S3, 5, [32, 32]),
        Case::new("resnet8", Shortcut::A, MethodName::Fp32, 32, [28, 32]),
        Case::new("resnet8", Shortcut::B, MethodName::DenseShift, 3, [32, 28]),
        Case::new("resnet8", Shortcut::A, MethodName::DenseShift, 4, [32, 32]),
        Case::new("resnet8", Shortcut::B, MethodName::DeepShiftQ, 3, [32, 32]),
        Case::new("resnet8", Shortcut::A, MethodName::DeepShiftPs, 4, [32, 32]),
        Case::new("resnet8", Shortcut::B, MethodName::Ternary, 2, [32, 32]),
        Case::new("resnet18", Shortcut::B, S3, 4, [64, 64]),
        Case::new("resnet50", Shortcut::B, MethodName::Fp32, 32, [64, 32]),
    ];
    for case in &cases {
        let images = case.images(3);
        let expected = case.evaluated(&images, &Target::host());
        let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        assert!(largest.is_finite() && largest > 1e-2, "{expected:?}");
        for target in targets() {
            for unpacked in [false, true] {
                let model = case.fold();
                let options =
                    Options { batch: 3, arith: Arith::Float, unpacked, capabilities: target.capabilities() };
                let inference = Inference::compile(&model, options, target.choices()).expect("it fits");
                let stems: Vec<_> = inference.plan.list(List::Evaluate).iter().map(|d| d.stem).collect();
                // Codes of 4 bits hold seven powers of two.
                let levels = case.method.family().alphabet().map_or(u32::MAX, |alphabet| alphabet.levels);
                let packs = levels <= 7 && !unpacked;
                assert_eq!(stems.contains(&"conv2d_packed"), packs, "{stems:?}");
                let mut session = Session::of(&model, inference, &target).expect("it loads");
                let got = session.run(&images).expect("it runs").concat();
                for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    let off = (got - expected).abs() / largest;
                    let what = format!("{:?} {} on {}, logit {i}", case.network, case.method, target.info());
                    assert!(off <= 1e-4, "{what}: {got}, expected {expected}");
                }
            }
        }
    }
}

/// Packed files hold every family's weights exactly, at its bits; what is not of the alphabet is refused.
#[test]
fn every_family_packs() {
    for method in Method::all().filter(Method::is_discrete) {
        let mut case = Case::new("resnet8", Shortcut::B, method.name(), method.bits(), [32, 32]);
        if method.name() == MethodName::Inq {
            let refused = packed::encode(&case.fold()).expect_err("nothing is fixed yet").to_string();
            assert!(refused.contains("layer1.0.conv1") && refused.contains("INQ"), "{refused}");
            for (_, (_, values)) in
                case.plain.iter_mut().filter(|(name, _)| name.contains(".conv") || name.contains("sample.0"))
            {
                let mut fixed = vec![0.0; values.len()];
                inq::fix(values, &mut fixed, 1.0, method.bits());
            }
        }
        let model = case.fold();
        let bytes = packed::encode(&model).expect("discrete weights");
        assert!(packed::decode(&bytes).as_ref() == Ok(&model), "{method}");
        assert!(model.convs.values().filter(|conv| conv.discrete).count() == 8, "{method}");
        let options = Options {
            batch: 1,
            arith: Arith::Dp4a,
            unpacked: false,
            capabilities: Target::host().capabilities(),
        };
        let integers = Inference::compile(&case.calibrated(), options, &Choices::default());
        // 8 powers of two may be too many for a byte, where the largest occurs.
        let most = model.convs.values().filter(|conv| conv.discrete).flat_map(|conv| &conv.weight);
        let most = most.fold(0.0f32, |most, w| most.max(w.abs()));
        assert_eq!(integers.is_ok(), most <= 64.0, "{method}, up to {most}: {:?}", integers.err());
        assert!(method.family().alphabet().is_some_and(|alphabet| alphabet.levels > 7) || most <= 64.0);
    }
}

/// Name and words of every layer that is integers.
type Layers = Vec<(String, Vec<u8>)>;

/// What a plan of integers writes from dispatch `first` on.
fn integers(inference: &Inference, engine: &mut dyn Engine, first: usize) -> Layers {
    let list = inference.plan.list(List::Evaluate);
    let mut all = Vec::new();
    for (i, dispatch) in list.iter().enumerate().skip(first) {
        engine.run_part(List::Evaluate, i..i + 1).expect("it runs");
        if ["conv2d_shift", "conv2d_dot", "shortcut_a_integer", "global_avg_pool_integer"]
            .contains(&dispatch.stem)
        {
            let written = *dispatch.views.last().expect("kernels write something");
            all.push((dispatch.label.clone(), engine.fetch(written).expect("it can be read")));
        }
    }
    all
}

/// From the first integers on every tensor is the same to the bit: on the adapter, on CPU cores, by the twins, and by dot
/// products as by shifts.
#[test]
fn integers_are_equal_everywhere() {
    let cases = [
        Case::new("resnet8", Shortcut::B, S3, 3, [32, 28]),
        Case::new("resnet8", Shortcut::A, S3, 4, [24, 32]),
        Case::new("resnet8", Shortcut::B, MethodName::DenseShift, 3, [32, 32]),
        Case::new("resnet8", Shortcut::B, MethodName::DeepShiftQ, 3, [32, 32]),
        Case::new("resnet18", Shortcut::B, S3, 2, [64, 64]),
    ];
    for case in &cases {
        let (model, images) = (case.calibrated(), case.images(2));
        let mut of_bits: [Option<Layers>; 2] = [None, None];
        for arith in [Arith::Shift { bits: 8 }, Arith::Shift { bits: 16 }, Arith::Dp4a] {
            let mut stem: Option<Vec<u8>> = None;
            let tiles = Choices::forced("tile").expect("a family");
            let targets = [
                (crate::support::gpu(), Choices::default()),
                (crate::support::gpu(), tiles),
                (Target::host(), Choices::default()),
                (Target::twins(), Choices::default()),
            ];
            for (target, choices) in targets {
                let options =
                    Options { batch: 2, arith, unpacked: false, capabilities: target.capabilities() };
                let inference = Inference::compile(&model, options, &choices).expect("it fits");
                let list = inference.plan.list(List::Evaluate);
                let quantize = list.iter().position(|d| d.stem == "quantize").expect("the stem is quantized");
                assert_eq!(list.iter().filter(|d| d.stem == "quantize").count(), 1);
                let mut engine = session::load(&inference, &target).expect("it loads");
                engine.write(inference.io.images, &images).expect("it fits");
                engine.run_part(List::Evaluate, 0..quantize + 1).expect("it runs");
                // All begin with the same integers.
                let made = *list[quantize].views.last().expect("it writes");
                let made_here = engine.fetch(made).expect("it can be read");
                engine.write(made, stem.get_or_insert(made_here)).expect("it fits");
                let got = integers(&inference, engine.as_mut(), quantize + 1);
                assert!(got.len() >= 9 && got.iter().all(|(_, words)| words.iter().any(|&b| b != 0)));
                let expected =
                    of_bits[usize::from(arith.bits() == Some(16))].get_or_insert_with(|| got.clone());
                for (got, expected) in got.iter().zip(expected.iter()) {
                    assert!(got == expected, "{} of {:?} on {} differs", got.0, arith, target.info());
                }
                assert_eq!(got.len(), expected.len());
            }
        }
    }
}

/// In the network of `models/` every convolution sums pairs, over the runs that docs/integers.md tells of.
#[test]
fn trained_networks_sum_pairs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/resnet20-cifar10-s3-3bit.snp");
    let model = packed::read(&path).expect("a packed network");
    let capabilities = Target::host().capabilities();
    let options = Options { batch: 1, arith: Arith::Shift { bits: 8 }, unpacked: false, capabilities };
    let inference = Inference::compile(&model, options, &Choices::default()).expect("it fits");
    let convolutions = inference.plan.list(List::Evaluate).iter().filter(|d| d.stem == "conv2d_shift");
    let (mut small, mut large) = (vec![], vec![]);
    for dispatch in convolutions {
        let run = param(dispatch, "run");
        if param(dispatch, "r") == 1 { small.push(run) } else { large.push(run) }
    }
    assert_eq!(small, [4, 8]);
    assert_eq!(
        (large.len(), large.iter().min(), large.iter().max()),
        (18, Some(&14), Some(&19)),
        "{large:?}"
    );
}

/// Integers stand for the activations that they came from: 16 bits nearly, 8 bits roughly.
#[test]
fn integers_come_near_to_floats() {
    let case = Case::new("resnet8", Shortcut::B, S3, 3, [32, 32]);
    let (model, images) = (case.calibrated(), case.images(16));
    let logits = |arith| {
        let mut session = Session::new(&model, arith, 16, &Target::host()).expect("it loads");
        session.run(&images).expect("it runs").concat()
    };
    let exact = logits(Arith::Float);
    let spread = exact.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    for (arith, bound) in
        [(Arith::Shift { bits: 16 }, 0.002), (Arith::Shift { bits: 8 }, 0.2), (Arith::Dp4a, 0.2)]
    {
        let got = logits(arith);
        let worst = got.iter().zip(&exact).map(|(g, e)| (g - e).abs()).fold(0.0, f32::max) / spread;
        assert!(worst > 0.0 && worst <= bound, "{arith:?}: {worst}");
    }
}

#[test]
fn what_integers_cannot_do_is_said() {
    let compile = |model: &Model, arith| {
        let options =
            Options { batch: 1, arith, unpacked: false, capabilities: Target::host().capabilities() };
        Inference::compile(model, options, &Choices::default()).expect_err("it cannot").to_string()
    };
    let five = Case::new("resnet8", Shortcut::B, S3, 5, [32, 32]).calibrated();
    for arith in [Arith::Dp4a, Arith::Shift { bits: 16 }] {
        let message = compile(&five, arith);
        assert!(message.contains("layer1.0.conv1") && message.contains("i8"), "{message}");
    }
    for bits in [0, 1, 7, 32] {
        let message = compile(&five, Arith::Shift { bits });
        assert!(message.contains(&format!("is {bits}, but must be 8 or 16")), "{message}");
    }
    let plain = Case::new("resnet8", Shortcut::B, S3, 3, [32, 32]).fold();
    let message = compile(&plain, Arith::Dp4a);
    assert!(message.contains("calibrate"), "{message}");
}

/// Without images there are no ranges.
#[test]
fn calibration_wants_images() {
    let mut model = Case::new("resnet8", Shortcut::B, S3, 3, [8, 8]).fold();
    let none = Arc::new(InMemory { pixels: vec![], labels: vec![] });
    let refused = calibrate::calibrate(&mut model, none, &Target::host()).expect_err("no images").to_string();
    assert!(refused.contains("no images") && model.exponents.is_none(), "{refused}");
}

/// Any number of images, in whatever batches, several on their way.
#[test]
fn sessions_run_any_batch() {
    let case = Case::new("resnet8", Shortcut::B, S3, 3, [32, 28]);
    let (model, images, len) = (case.fold(), case.images(7), case.input.image_bytes());
    for target in targets() {
        let mut one = Session::new(&model, Arith::Float, 1, &target).expect("it loads");
        let expected = one.run(&images).expect("it runs");
        assert_eq!(expected.len(), 7);
        let mut three = Session::new(&model, Arith::Float, 3, &target).expect("it loads");
        let mut pending: Vec<_> =
            images.chunks(3 * len).map(|images| three.submit(images).expect("it runs")).collect();
        three.engine.poll(true).expect("it runs");
        let got: Vec<_> =
            pending.iter_mut().flat_map(|p| p.take().expect("it runs").expect("it is there")).collect();
        assert_eq!(got, expected);
        assert_eq!(three.run(&[]).expect("nothing to do"), Vec::<Vec<f32>>::new());
        assert!(three.submit(&images[..len + 1]).is_err());
        assert!(three.submit(&images[..4 * len]).is_err());
    }
}

/// A Python with ONNX Runtime, where test.sh made one or SHIFTNET_PYTHON names it; says why where there is none.
fn python() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SHIFTNET_PYTHON").map(PathBuf::from) {
        assert!(named.exists(), "SHIFTNET_PYTHON is {}, which does not exist", named.display());
        return Some(named);
    }
    let path: PathBuf = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv-onnx/bin/python").into();
    let found = path.exists();
    if !found {
        eprintln!("skipped: there is no Python with onnxruntime at {}", path.display());
    }
    found.then_some(path)
}

/// The trained model of the repository on CIFAR-10's first 1,000 test images.
#[test]
fn onnx_runtime_gives_our_logits_of_a_trained_network() {
    let (Some(python), Some(data)) = (python(), data("cifar-10-batches-bin")) else { return };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/resnet20-cifar10-s3-3bit.snp");
    let model = packed::read(path.as_ref()).expect("a whole file");
    let source = Source::open(DatasetName::Cifar10, Some(&data), 0, Need::Test).expect("it is whole");
    let mut images = vec![0; 1000 * model.input.image_bytes()];
    for (i, image) in images.chunks_exact_mut(model.input.image_bytes()).enumerate() {
        source.test.read(i, image).expect("it can be read");
    }
    assert_onnx(&python, &model, &images);
}

#[test]
fn onnx_runtime_gives_our_logits() {
    let Some(python) = python() else { return };
    let cases = [
        Case::new("resnet8", Shortcut::B, S3, 3, [32, 28]),
        Case::new("resnet8", Shortcut::A, S3, 5, [31, 32]),
        Case::new("resnet8", Shortcut::B, MethodName::Fp32, 32, [32, 32]),
        Case::new("resnet18", Shortcut::B, S3, 4, [64, 64]),
    ];
    for case in &cases {
        assert_onnx(&python, &case.fold(), &case.images(5));
    }
}

/// Fails unless ONNX Runtime has our logits for `images`, and unless the check objects to a wrong one.
fn assert_onnx(python: &Path, model: &Model, images: &[u8]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Input { image: [height, width], mean, std, classes } = &model.input;
    let n = images.len() / model.input.image_bytes();
    let mut session = Session::new(model, Arith::Float, n.min(100), &Target::host()).expect("it loads");
    let logits = session.run(images).expect("it runs").concat();
    let normalized = images.iter().enumerate().map(|(i, &byte)| {
        let channel = i / (height * width) % 3;
        (f32::from(byte) / 255.0 - mean[channel]) / std[channel]
    });
    let bytes =
        |values: &mut dyn Iterator<Item = f32>| values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let paths = ["model.onnx", "images", "logits"].map(|name| directory.path().join(name));
    let write = |path: &PathBuf, contents: Vec<u8>| std::fs::write(path, contents).expect("there is room");
    write(&paths[0], onnx::encode(model).expect("it can be written"));
    write(&paths[1], bytes(&mut normalized.clone()));
    write(&paths[2], bytes(&mut logits.iter().copied()));
    let sizes = [n, 3, *height, *width, classes.len()].map(|size| size.to_string());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/check.py");
    let run = || Command::new(python).arg(script).args(&paths).args(&sizes).output().expect("Python starts");
    let output = run();
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    println!("{}: {said}", model.arch);
    assert!(output.status.success(), "{}: {said}", model.arch);
    let wrong = logits.iter().enumerate().map(|(i, l)| if i == 33 { l + 0.01 } else { *l });
    write(&paths[2], bytes(&mut wrong.clone()));
    assert!(!run().status.success());
}
