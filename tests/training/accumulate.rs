//! Gradients of micro-batches.

use crate::support::{settings, targets};
use shiftnet::data::{Batch, Reading};
use shiftnet::engine::{Engine, Target};
use shiftnet::kernels::Step;
use shiftnet::model::state::{self, MOMENTUM, Tensors};
use shiftnet::plan::List;
use shiftnet::train::Setup;

/// The gradients after micro-batches of four images, the numbers in `firsts` their first ones.
fn gradients(setup: &Setup, firsts: &[usize]) -> Tensors {
    let mut engine = stepped(setup, firsts);
    state::gradients(engine.as_mut(), &setup.network).expect("the engine runs")
}

/// An engine behind the backward passes of such micro-batches.
fn stepped(setup: &Setup, firsts: &[usize]) -> Box<dyn Engine> {
    let Setup { network, settings, .. } = setup;
    let mut engine = setup.target.load(network.plan.clone()).expect("a small network");
    let tensors = state::initial(network, settings.init, settings.seed);
    state::upload(engine.as_mut(), network, &tensors).expect("the engine runs");
    for (micro, &first) in firsts.iter().enumerate() {
        let images: Vec<u32> = (first as u32..first as u32 + 4).collect();
        let reading = Reading::plain(setup.source.input.image_bytes());
        let batch = Batch::read(setup.train.as_ref(), &images, reading).expect("drawn");
        let step = Step { step: 1, slot: 1, micro: micro as u32, lr: 0.1, ..Step::default() };
        let io = network.io;
        io.write_step(engine.as_mut(), &step).expect("the engine runs");
        io.write_images(engine.as_mut(), &batch.images).expect("the engine runs");
        io.write_labels(engine.as_mut(), &batch.labels).expect("the engine runs");
        engine.run(List::Forward).expect("the engine runs");
        engine.run(if micro == 0 { List::Backward } else { List::BackwardAdd }).expect("the engine runs");
    }
    engine
}

/// Gradients have the names and shapes of what they are of: from rest, without decay and regularizer, an update leaves them as the
/// momenta of full precision. Those of discrete weights are the twins'.
#[test]
fn gradients_have_names_and_shapes() {
    let setup = |method: &str, target: &Target| {
        let lines = format!(
            "arch = 'resnet8'; method = '{method}'; init = 'normal'; limit = 4; limit-val = 1; batch-size = 4; wd = 0.0; alpha = 0.0"
        );
        Setup::new(settings(&lines), target.clone()).expect("legal settings")
    };
    let twins = gradients(&setup("s3", &Target::twins()), &[0]);
    for target in targets() {
        let plain = setup("fp32", &target);
        let mut engine = stepped(&plain, &[0]);
        let found = state::gradients(engine.as_mut(), &plain.network).expect("the engine runs");
        engine.run(List::Update).expect("the engine runs");
        let tensors = state::download(engine.as_mut(), &plain.network).expect("the engine runs");
        assert_eq!(found.len(), tensors.keys().filter(|name| name.starts_with(MOMENTUM)).count());
        for (name, gradient) in &found {
            assert_eq!(*gradient, tensors[&format!("{MOMENTUM}{name}")], "{name} on {}", target.info().name);
        }
        let found = gradients(&setup("s3", &target), &[0]);
        assert_eq!(found["layer2.0.conv1.weight"].0, [32, 16, 3, 3]);
        assert!(found.keys().eq(twins.keys()) && found.contains_key("fc.bias"), "{:?}", found.keys());
        for (name, (shape, values)) in &found {
            let (wanted_shape, wanted) = &twins[name];
            assert_eq!(shape, wanted_shape, "{name}");
            let norm = |values: &mut dyn Iterator<Item = f32>| {
                values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
            };
            let difference = norm(&mut values.iter().zip(wanted).map(|(a, b)| a - b));
            let size = norm(&mut wanted.iter().copied());
            assert!(
                size > 0.0 && difference <= 1e-4 * size,
                "{name} on {}: {difference} of {size}",
                target.info().name
            );
        }
    }
}

/// The same images twice, as two micro-batches of one batch, have the gradient of those images once: each
/// has its half, a power of two, so that only the order of rounding differs. Other images have another one.
#[test]
fn micro_batches_add_up_to_the_batch() {
    for target in targets() {
        let setup = |lines: &str| {
            let common = "arch = 'resnet8'; init = 'normal'; limit = 8; limit-val = 1; ";
            Setup::new(settings(&format!("{common}{lines}")), target.clone()).expect("legal settings")
        };
        let once = gradients(&setup("batch-size = 4"), &[0]);
        let halves = setup("batch-size = 8; accumulate = 2");
        let twice = gradients(&halves, &[0, 0]);
        assert!(once.keys().eq(twice.keys()) && once.contains_key("layer1.0.conv1.weight"));
        for ((name, (_, once)), (_, twice)) in once.iter().zip(twice.values()) {
            let largest = once.iter().fold(0.0f32, |most, g| most.max(g.abs()));
            assert!(largest > 0.0 && largest.is_finite(), "{name}");
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * largest;
            assert!(once.iter().zip(twice).all(close), "{name} on {}", target.info().name);
        }
        let [half, other] = [&[0][..], &[0, 4]].map(|firsts| gradients(&halves, firsts));
        for (((name, (_, once)), (_, half)), (_, other)) in once.iter().zip(half.values()).zip(other.values())
        {
            assert!(once.iter().zip(half).all(|(g, half)| *g == 2.0 * half), "{name}: a half");
            assert!(once != other && other != half, "{name}: the second micro-batch counts");
        }
    }
}
