//! The weight families in whole runs.

use crate::support::{assert_relative, gpu, losses, settings, targets};
use shiftnet::engine::Target;
use shiftnet::method::{Method, MethodName, inq};
use shiftnet::model::state::{self, Tensors};
use shiftnet::train::trained::{Stated, Trained};
use shiftnet::train::{Event, RunDir, Settings, Setup, Trainer, checkpoint};
use std::path::Path;

fn begin(settings: &Settings, target: &Target) -> Trainer {
    let setup = Setup::new(settings.clone(), target.clone()).expect("legal settings");
    setup.begin(None).expect("a small network")
}

/// Rounding differs, and training amplifies the difference.
#[test]
fn every_family_trains_alike_on_both_engines() {
    for (method, bits) in [("denseshift", 3), ("deepshift-q", 4), ("deepshift-ps", 3), ("ternary", 2)] {
        let settings = settings(&format!(
            "arch = 'resnet8'; method = '{method}'; bits = {bits}; batch-size = 8; max-steps = 8; lr = 0.02; limit-val = 1"
        ));
        let [on_gpu, on_host] = targets().map(|target| losses(&mut begin(&settings, &target)));
        let on_host: Vec<f64> = on_host.into_iter().map(f64::from).collect();
        assert_eq!(on_gpu.len(), 8);
        assert_relative(method, &on_gpu, &on_host, 5e-3);
    }
}

/// What the kernels made of the latents, while they trained, is what their file says.
#[test]
fn weights_on_the_engine_are_those_of_their_latents() {
    for method in Method::all().filter(|method| method.name() != MethodName::Inq) {
        let settings = settings(&format!(
            "arch = 'resnet8'; method = '{}'; bits = {}; batch-size = 2; max-steps = 3; lr = 0.5; init = 'normal'; limit-val = 1",
            method.name(),
            method.bits()
        ));
        for target in targets() {
            let mut trainer = begin(&settings, &target);
            losses(&mut trainer);
            let network = trainer.network().clone();
            let tensors = state::download(trainer.engine(), &network).expect("the engine runs");
            let family = method.family();
            for layer in &network.store.family_layers {
                let latents = &network.store.tensors[layer.first_latent..][..family.latents().len()];
                let planes: Vec<&[f32]> = latents.iter().map(|t| tensors[&t.name].1.as_slice()).collect();
                let expected = latents[0].pack(&shiftnet::method::weights(family.as_ref(), &planes));
                let got = trainer.engine().fetch_f32(layer.weight).expect("the engine runs");
                let differ = got.iter().zip(&expected).filter(|(got, expected)| got != expected).count();
                // A layer's mean is rounded differently, so that a ternary weight may lie between two borders.
                let most = if method.name() == MethodName::Ternary { 1 } else { 0 };
                assert!(differ <= most, "{method} on {}: {differ} of {}", target.info().name, layer.name);
            }
        }
    }
}

/// The weights of a run's checkpoint.
fn latents(file: &Path) -> Tensors {
    checkpoint::read(file).expect("a whole checkpoint").0
}

/// Of all weights that INQ has, the share that is fixed.
fn fixed(tensors: &Tensors) -> f64 {
    let planes = || {
        tensors.iter().filter(|(name, _)| name.ends_with(".weight_fixed") && !name.starts_with("momentum"))
    };
    let values = || planes().flat_map(|(_, (_, values))| values);
    values().filter(|fixed| **fixed == 1.0).count() as f64 / values().count() as f64
}

/// What fixing a share of the weights makes 0 is counted: where steps move nothing, all that is 0 in the end.
#[test]
fn zeros_that_inq_fixes_are_counted() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let pretrained = RunDir::new(directory.path());
    let common = "arch = 'resnet8'; batch-size = 4; limit = 8; limit-val = 4";
    let first = settings(&format!("{common}; method = 'fp32'; epochs = 1; lr = 0.05"));
    let setup = Setup::new(first, Target::host()).expect("legal settings");
    setup
        .begin(Some(pretrained.clone()))
        .expect("a small network")
        .for_each(|event| drop(event.expect("it runs")));
    let from = pretrained.last().display().to_string();
    let still = settings(&format!(
        "{common}; method = 'inq'; epochs = 4; lr = 1e-30; wd = 0.0; init-from = {from:?}"
    ));
    for target in targets() {
        let events = begin(&still, &target).map(|event| event.expect("it runs"));
        let epochs =
            events.filter_map(|event| if let Event::Epoch(epoch) = event { epoch.weights } else { None });
        let (mut counted, mut sparsity) = (0.0, 0.0);
        for weights in epochs {
            // Of two steps.
            counted += 2.0 * weights.zero_change_rate;
            assert!(
                weights.sparsity > sparsity && (counted - weights.sparsity).abs() < 1e-9,
                "{counted}, {weights:?}"
            );
            sparsity = weights.sparsity;
        }
        assert!(sparsity > 0.1, "{sparsity}");
    }
}

/// The norms are of the step's gradients: at the first, from latents all of whose shifts are closed, the inner shift has none.
#[test]
fn gradients_are_those_of_the_step() {
    let first = settings("arch = 'resnet8'; batch-size = 8; limit-val = 4; max-steps = 1; lr = 10.0");
    for target in targets() {
        let events = begin(&first, &target).map(|event| event.expect("it runs"));
        let mut epochs =
            events.filter_map(|event| if let Event::Epoch(epoch) = event { epoch.weights } else { None });
        let norms = epochs.next().expect("an epoch").gradient_norms;
        assert_eq!(norms["weight_t1"], 0.0, "{norms:?}");
        assert!(norms["weight_t2"] > 0.0 && norms["weight_sign"] > 0.0, "{norms:?}");
    }
}

/// Epochs of 2 steps: half of the weights stand still in the first, all in the last, from which alone the best is; a run that
/// was stopped goes on as if it had not been.
#[test]
fn inq_fixes_share_after_share() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = |name: &str| {
        let run = RunDir::new(directory.path().join(name));
        std::fs::create_dir(&run.path).expect("a new directory");
        run
    };
    let train = |settings: &Settings, target: &Target, run: &RunDir| {
        let setup = Setup::new(settings.clone(), target.clone()).expect("legal settings");
        let trainer = setup.resume(run.clone()).expect("it resumes");
        let events = trainer.map(|event| event.expect("the run goes well"));
        events
            .filter_map(|event| if let Event::Epoch(epoch) = event { Some(epoch.best) } else { None })
            .collect::<Vec<_>>()
    };
    let common =
        "arch = 'resnet8'; batch-size = 4; limit = 8; limit-val = 4; lr = 0.05; checkpoint-every = 1";
    let pretrained = run("pretrained");
    train(&settings(&format!("{common}; method = 'fp32'; epochs = 1")), &Target::host(), &pretrained);
    let from = pretrained.last().display().to_string();
    let whole = settings(&format!("{common}; method = 'inq'; epochs = 4; init-from = {from:?}"));
    for target in [gpu(), Target::host()] {
        let name = |what: &str| format!("{what} {}", target.info().kind as u8);
        let at_once = run(&name("at once"));
        assert_eq!(train(&whole, &target, &at_once), [false, false, false, true]);
        assert_eq!(fixed(&latents(&at_once.last())), 1.0);
        let stopped = run(&name("stopped"));
        let mut share = Vec::new();
        for step in 1..8 {
            let part = Settings { max_steps: Some(step), ..whole.clone() };
            train(&part, &target, &stopped);
            share.push(fixed(&latents(&stopped.last())));
        }
        for (step, share) in share.iter().enumerate() {
            assert!((share - inq::SHARES[step / 2]).abs() < 1e-3, "step {}: {share}", step + 1);
        }
        train(&whole, &target, &stopped);
        let bytes = |run: &RunDir| std::fs::read(run.last()).expect("a checkpoint");
        assert!(bytes(&stopped) == bytes(&at_once), "on {}", target.info().name);

        // What goes on after its end has nothing left to fix, so that its next epoch can be the best, where none is yet.
        let (tensors, mut progress) = checkpoint::read(&at_once.last()).expect("whole");
        progress.best = None;
        let unknown = checkpoint::encode(&tensors, &progress).expect("it was one");
        std::fs::write(at_once.last(), unknown).expect("a small file");
        let longer = Settings { epochs: 8, max_steps: Some(10), ..whole.clone() };
        assert_eq!(train(&longer, &target, &at_once), [true]);

        let trained = Trained::read(&at_once.best(), Stated::default()).expect("it has a best");
        assert_eq!(trained.method, Method::new(MethodName::Inq, 3).expect("legal"));
        let alphabet = trained.method.family().alphabet().expect("discrete");
        let layers =
            trained.tensors.iter().filter(|(name, _)| name.starts_with("layer") && name.contains(".conv"));
        let held: Vec<bool> = layers.map(|(_, (_, weights))| alphabet.holds(weights)).collect();
        assert!(held.len() == 6 && held.iter().all(|held| *held), "{held:?}");
    }
}

/// A family that begins from plain weights takes those of a trained network.
#[test]
fn families_adopt_plain_weights() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = RunDir::new(directory.path());
    let plain = settings("arch = 'resnet8'; method = 'fp32'; batch-size = 2; max-steps = 0; limit-val = 1");
    let setup = Setup::new(plain, Target::host()).expect("legal settings");
    setup
        .begin(Some(run.clone()))
        .expect("a small network")
        .for_each(|event| drop(event.expect("it goes well")));
    let weights = &latents(&run.last())["layer2.0.conv1.weight"].1;
    let from = run.last().display().to_string();
    for (method, bits) in [("deepshift-q", 3), ("deepshift-ps", 4), ("ternary", 2), ("inq", 3)] {
        let lines = format!(
            "arch = 'resnet8'; method = '{method}'; bits = {bits}; batch-size = 2; max-steps = 0; limit-val = 1; init-from = {from:?}"
        );
        let mut trainer = begin(&settings(&lines), &Target::host());
        let network = trainer.network().clone();
        let tensors = state::download(trainer.engine(), &network).expect("the engine runs");
        let suffix = &network.options.method.family().latents()[0];
        let first = &tensors[&format!("layer2.0.conv1.{suffix}")].1;
        let signs = first.iter().zip(weights).all(|(latent, weight)| (*latent >= 0.0) == (*weight >= 0.0));
        assert!(signs && first.len() == weights.len(), "{method}");
    }
    // A 0 stays one where the family has it; and what INQ has fixed is free again, at other bits.
    let lines = |method: &str, bits: u32, from: &RunDir| {
        let from = from.last().display().to_string();
        format!(
            "arch = 'resnet8'; method = '{method}'; bits = {bits}; batch-size = 2; max-steps = 0; limit-val = 1; init-from = {from:?}"
        )
    };
    let made = |name: &str, method: &str, bits: u32, from: &RunDir| {
        let run = RunDir::new(directory.path().join(name));
        std::fs::create_dir(&run.path).expect("a new directory");
        let setup = Setup::new(settings(&lines(method, bits, from)), Target::host()).expect("legal settings");
        let trainer = setup.begin(Some(run.clone())).expect("a small network");
        trainer.for_each(|event| drop(event.expect("it goes well")));
        run
    };
    let ternary = made("ternary", "ternary", 2, &run);
    let zeros = |run: &RunDir| {
        let trained = Trained::read(&run.last(), Stated::default()).expect("a checkpoint");
        let (_, weights) = &trained.tensors["layer2.0.conv1.weight"];
        weights.iter().map(|w| *w == 0.0).collect::<Vec<_>>()
    };
    assert!(zeros(&ternary).contains(&true));
    assert_eq!(zeros(&made("ps", "deepshift-ps", 2, &ternary)), zeros(&ternary));
    let steps = lines("inq", 3, &run).replace("max-steps = 0", "epochs = 4; limit = 2; lr = 0.05");
    let three = RunDir::new(directory.path().join("three"));
    std::fs::create_dir(&three.path).expect("a new directory");
    let setup = Setup::new(settings(&steps), Target::host()).expect("legal settings");
    let trainer = setup.begin(Some(three.clone())).expect("a small network");
    trainer.for_each(|event| drop(event.expect("it goes well")));
    assert_eq!(fixed(&latents(&three.last())), 1.0);
    assert_eq!(fixed(&latents(&made("five", "inq", 5, &three).last())), 0.0);
    // S³'s latents do not follow from a weight.
    let lines = format!("arch = 'resnet8'; batch-size = 2; init-from = {from:?}");
    let setup = Setup::new(settings(&lines), Target::host()).expect("legal settings");
    let refused = setup.begin(None).err().expect("it has no latents").to_string();
    assert!(refused.contains("no latents of S³ 3-bit follow"), "{refused}");
}
