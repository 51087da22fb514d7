//! Gradients of micro-batches.

use crate::support::{settings, targets};
use shiftnet::data::{Batch, Reading};
use shiftnet::engine::Engine;
use shiftnet::kernels::Step;
use shiftnet::model::{Network, state};
use shiftnet::plan::List;
use shiftnet::train::Setup;

/// The gradients after micro-batches of four images, the numbers in `firsts` their first ones.
fn gradients(setup: &Setup, firsts: &[usize]) -> Vec<(String, Vec<f32>)> {
    let Setup { network, settings, .. } = setup;
    let mut engine = setup.target.load(network.plan.clone()).expect("a small network");
    let tensors = state::initial(network, settings.init, settings.seed);
    state::upload(engine.as_mut(), network, &tensors).expect("the engine runs");
    for (micro, &first) in firsts.iter().enumerate() {
        let images: Vec<u32> = (first as u32..first as u32 + 4).collect();
        let reading = Reading::plain(setup.source.input.image_bytes());
        let batch = Batch::read(setup.train.as_ref(), &images, reading).expect("drawn");
        let step = Step { step: 1, slot: 1, micro: micro as u32, lr: 0.1, ..Step::default() };
        engine.write(network.io.step, bytemuck::bytes_of(&step)).expect("the engine runs");
        engine.write(network.io.images, &batch.images).expect("the engine runs");
        engine.write(network.io.labels, bytemuck::cast_slice(&batch.labels)).expect("the engine runs");
        engine.run(List::Forward).expect("the engine runs");
        engine.run(if micro == 0 { List::Backward } else { List::BackwardAdd }).expect("the engine runs");
    }
    read(engine.as_mut(), network)
}

fn read(engine: &mut dyn Engine, network: &Network) -> Vec<(String, Vec<f32>)> {
    let plain = network.store.banks.iter().map(|bank| bank.gradients);
    let shift = network.store.ranges.iter().map(|range| range.dw);
    let views: Vec<_> = plain.chain(shift).collect();
    let fetch =
        |view| (network.plan.name(view).to_string(), engine.fetch_f32(view).expect("the engine runs"));
    views.into_iter().map(fetch).collect()
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
        assert_eq!(once.len(), 2);
        for ((name, once), (_, twice)) in once.iter().zip(&twice) {
            let largest = once.iter().fold(0.0f32, |most, g| most.max(g.abs()));
            assert!(largest > 0.0 && largest.is_finite(), "{name}");
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * largest;
            assert!(once.iter().zip(twice).all(close), "{name} on {}", target.info().name);
        }
        let [half, other] = [&[0][..], &[0, 4]].map(|firsts| gradients(&halves, firsts));
        for (((name, once), (_, half)), (_, other)) in once.iter().zip(&half).zip(&other) {
            assert!(once.iter().zip(half).all(|(g, half)| *g == 2.0 * half), "{name}: a half");
            assert!(once != other && other != half, "{name}: the second micro-batch counts");
        }
    }
}
