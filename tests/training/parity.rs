//! Parity with PyTorch: the fixture that `tests/parity/parity.py fixture --batch 16` wrote, in float64.

use crate::support::{assert_relative, data, losses, settings, targets};
use safetensors::SafeTensors;
use serde::Deserialize;
use shiftnet::engine::Target;
use shiftnet::model::latents::LAST_FLIP;
use shiftnet::model::state::{self, MOMENTUM};
use shiftnet::train::{Setup, Trainer};
use std::path::Path;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixture");

#[derive(Deserialize)]
struct Fixture {
    arch: String,
    shortcut: String,
    batch: usize,
    gradient_batch: usize,
    steps: u64,
    lr: f32,
    momentum: f32,
    wd: f32,
    alpha: f32,
    epochs: u64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    bits: u32,
    method: String,
    init: String,
    seed: u64,
    /// Norm of the learned parameters that PyTorch started from.
    init_l2: f64,
    losses_f64: Vec<f64>,
}

fn fixture() -> Fixture {
    let text = std::fs::read_to_string(Path::new(FIXTURE).join("losses.json")).expect("it is committed");
    serde_json::from_str(&text).expect("as parity.py wrote it")
}

/// A trainer as the case says: `batch` images in file order, without augmentation.
fn begin(
    target: &Target,
    cifar: &Path,
    f: &Fixture,
    case: &Case,
    [steps, batch]: [u64; 2],
    wd: f32,
    alpha: f32,
) -> Trainer {
    let bits = if case.method == "fp32" { 3 } else { case.bits };
    let settings = settings(&format!(
        "dataset = 'cifar10'; data = {:?}; arch = {:?}; shortcut = {:?}; method = {:?}; bits = {bits}; \
         init = {:?}; seed = {}; batch-size = {batch}; max-steps = {steps}; lr = {:?}; momentum = {:?}; wd = {wd:?}; \
         alpha = {alpha:?}; epochs = {}; limit = {}; limit-val = 1; augment = 'none'; shuffle = false",
        cifar.display().to_string(),
        f.arch,
        f.shortcut,
        case.method,
        case.init,
        case.seed,
        f.lr,
        f.momentum,
        f.epochs,
        steps * batch
    ));
    Setup::new(settings, target.clone()).and_then(|setup| setup.begin(None)).expect("legal settings")
}

/// The norm of all learned parameters.
fn norm(trainer: &mut Trainer) -> f64 {
    let network = trainer.network().clone();
    let tensors = state::download(trainer.engine(), &network).expect("the engine runs");
    let learned = |name: &str| {
        !name.starts_with(MOMENTUM) && !name.starts_with(LAST_FLIP) && !name.contains("running_")
    };
    let squares = tensors.iter().filter(|(name, _)| learned(name)).flat_map(|(_, (_, values))| values);
    squares.map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn losses_are_those_of_pytorch() {
    let Some(cifar) = data("cifar-10-batches-bin") else { return };
    let f = fixture();
    assert_eq!(f.cases.len(), 11);
    for target in targets() {
        for case in &f.cases {
            let what = format!("{} {} bits {} on {}", case.method, case.bits, case.init, target.info().name);
            let mut trainer = begin(&target, &cifar, &f, case, [f.steps, f.batch as u64], f.wd, f.alpha);
            assert_relative(
                &format!("{what}: initial norm"),
                &[norm(&mut trainer) as f32],
                &[case.init_l2],
                1e-6,
            );
            let losses = losses(&mut trainer);
            assert_relative(&format!("{what}: first loss"), &losses[..1], &case.losses_f64[..1], 1e-5);
            assert_relative(&format!("{what}: losses"), &losses, &case.losses_f64, 5e-3);
        }
    }
}

/// After one step from rest, without decay and regularizer, the momenta are the gradients.
#[test]
fn gradients_are_those_of_pytorch() {
    let Some(cifar) = data("cifar-10-batches-bin") else { return };
    let f = fixture();
    let case = f.cases.iter().find(|c| c.bits == 3 && c.init == "normal").expect("it is in the fixture");
    let bytes =
        std::fs::read(Path::new(FIXTURE).join("gradients_s3_b3.safetensors")).expect("it is committed");
    let wanted = SafeTensors::deserialize(&bytes).expect("as parity.py wrote it");
    for target in targets() {
        let mut trainer = begin(&target, &cifar, &f, case, [1, f.gradient_batch as u64], 0.0, 0.0);
        losses(&mut trainer);
        let network = trainer.network().clone();
        let tensors = state::download(trainer.engine(), &network).expect("the engine runs");
        let momenta = tensors.keys().filter(|name| name.starts_with(MOMENTUM)).count();
        assert_eq!(momenta, wanted.len());
        for (name, want) in wanted.tensors() {
            let (shape, got) = &tensors[&format!("{MOMENTUM}{name}")];
            assert_eq!(shape, want.shape(), "{name}");
            let want: Vec<f32> = bytemuck::pod_collect_to_vec(want.data());
            let norm = |values: &mut dyn Iterator<Item = f32>| {
                values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
            };
            let difference = norm(&mut got.iter().zip(&want).map(|(got, want)| got - want));
            let difference = difference / norm(&mut want.iter().copied());
            assert!(difference <= 1e-3, "{name} on {}: {difference:.1e} > 1e-3", target.info().name);
        }
    }
}
