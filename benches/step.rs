//! A training step and an evaluation of ResNet-20 under criterion, on the adapter that runs by default (or
//! WGPU_ADAPTER_NAME): `cargo bench --bench step`. Elements are images, so that criterion prints images/s.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shiftnet::bench::network;
use shiftnet::engine::{Engine, Target};
use shiftnet::method::{InitName, Method, MethodName};
use shiftnet::model::state;
use shiftnet::plan::List;
use std::hint::black_box;

const BATCH: usize = 32;

/// ResNet-20 with initial weights, on the default adapter.
fn load(method: Method) -> Result<Box<dyn Engine>, shiftnet::Error> {
    let target = Target::choose(None)?;
    let network = network("resnet20".parse()?, method, BATCH, true, &target)?;
    let mut engine = target.load(network.plan.clone())?;
    state::upload(engine.as_mut(), &network, &state::initial(&network, InitName::Dense, 1))?;
    Ok(engine)
}

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("resnet20");
    group.sample_size(10).throughput(Throughput::Elements(BATCH as u64));
    for (name, method) in [("fp32", MethodName::Fp32), ("s3", MethodName::S3)] {
        let method = Method::new(method, 3).expect("3 bits are legal");
        let mut engine = load(method).expect("an adapter that holds ResNet-20");
        let mut run = |lists: &[List]| {
            for &list in lists {
                engine.run(list).expect("the plan runs");
            }
            engine.poll(true).expect("the adapter answers");
            black_box(());
        };
        let step = [List::Forward, List::Backward, List::Update];
        group.bench_function(format!("{name} training step"), |b| b.iter(|| run(&step)));
        group.bench_function(format!("{name} update"), |b| b.iter(|| run(&step[2..])));
        group.bench_function(format!("{name} evaluation"), |b| b.iter(|| run(&[List::Evaluate])));
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
