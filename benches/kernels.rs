//! Kernels of ResNet-20 under criterion, on the adapter that runs by default (or WGPU_ADAPTER_NAME): a convolution of
//! each stage in its three directions, the batch norms between them, and the updates. Times are the adapter's own.
//! `cargo bench --bench kernels`; `shiftnet bench kernels` measures every shape.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shiftnet::bench::kernels::{self, Case};
use shiftnet::bench::{check, network};
use shiftnet::engine::Target;
use shiftnet::method::{Method, MethodName};
use shiftnet::plan::List;
use std::time::Duration;

const BATCH: usize = 32;

/// Whether a case is one of the few: the 3x3 convolutions that keep their shape, the batch norms of the first stage,
/// and what works for the whole network.
fn is_measured(case: &Case) -> bool {
    let (stem, shape) = (case.dispatch.stem, kernels::shape(&case.dispatch));
    let convolution =
        stem.starts_with("conv2d") && shape.contains("r3 s3 stride1") && !shape.contains(" c4 ");
    let norm = stem.starts_with("batch_norm") && shape.contains("quads4 ");
    case.count > 0 && (convolution || norm || case.list == List::Update)
}

fn shapes(c: &mut Criterion) {
    let target = Target::choose(None).expect("an adapter");
    let arch = "resnet20".parse().expect("a known architecture");
    let method = Method::new(MethodName::S3, 3).expect("3 bits are legal");
    let network = network(arch, method, BATCH, true, &target).expect("ResNet-20 fits");
    let mut cases = kernels::cases(&network);
    cases.retain(is_measured);
    let checked = check::check(arch, method, (&cases, BATCH), &target, &mut |line| eprintln!("{line}"))
        .expect("kernels are right");
    let mut bench = kernels::Bench::load(&cases, &target).expect("the shapes fit");
    let mut group = c.benchmark_group("kernels");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for (i, case) in cases.iter().enumerate() {
        let inputs = checked.inputs[i].as_ref().expect("a smaller batch has the same layers");
        bench.fill(i, inputs).expect("the adapter answers");
        let name = format!("{} {} {}", case.dispatch.stem, case.dispatch.variant, case.dispatch.label);
        // Elements are floating-point operations, so that criterion prints their rate.
        group.throughput(Throughput::Elements(case.dispatch.cost.flops));
        group.bench_function(name.replace("  ", " "), |b| {
            b.iter_custom(|count| {
                let times = bench.run(i, 0, count as usize).expect("the adapter answers");
                Duration::from_secs_f64(times.iter().sum::<f64>() / 1e3)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, shapes);
criterion_main!(benches);
