//! Names, shapes and counts of the ImageNet networks against torchvision's, and their plans. No engine runs.

use md5::{Digest, Md5};
use serde::Deserialize;
use shiftnet::kernels::Hyper;
use shiftnet::method::{Method, MethodName};
use shiftnet::model::latents::LAST_FLIP;
use shiftnet::model::params::Store;
use shiftnet::model::{Arch, Network, Options, Shortcut};
use shiftnet::plan::{AdapterKind, Capabilities, List};

/// `tests/fixtures/torchvision_resnets.py` wrote it.
#[derive(Deserialize)]
struct Fixture {
    networks: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    arch: String,
    parameters: usize,
    count: usize,
    /// Of all lines `name d0,d1,...`.
    md5: String,
    #[serde(default)]
    tensors: Vec<(String, Vec<usize>)>,
}

/// What every WebGPU device binds.
const LIMIT: u64 = 128 << 20;

/// `arch` for ImageNet at `batch` images, to train.
fn plan(arch: &str, method: Method, batch: usize) -> Network {
    let arch: Arch = arch.parse().expect("a known architecture");
    let graph = arch.build(Shortcut::B, [224, 224], 1000).expect("shortcut B");
    let options = Options {
        method,
        micro_batch: batch,
        batch,
        hyper: Hyper { momentum: 0.9, weight_decay: 1e-4, alpha: 1e-5 },
        label_smoothing: 0.0,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        capabilities: Capabilities { kind: AdapterKind::Discrete, max_binding: LIMIT, subgroups: false },
        train: true,
    };
    Network::compile(graph, options).expect("layers fit together")
}

/// The tensors of a network that torchvision's has too.
fn learned(store: &Store) -> Vec<(String, Vec<usize>)> {
    let all = store.tensors.iter().filter(|tensor| !tensor.name.starts_with(LAST_FLIP));
    all.map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect()
}

#[test]
fn names_shapes_and_counts_are_torchvisions() {
    let text = include_str!("../fixtures/torchvision_resnets.json");
    let fixture: Fixture = serde_json::from_str(text).expect("as the script wrote it");
    assert_eq!(fixture.networks.len(), 5);
    for expected in fixture.networks {
        let store = plan(&expected.arch, Method::FP32, 1).store;
        let tensors = learned(&store);
        for (ours, theirs) in tensors.iter().zip(&expected.tensors) {
            assert_eq!(ours, theirs, "{}", expected.arch);
        }
        assert_eq!(tensors.len(), expected.count, "{}", expected.arch);
        assert_eq!(store.parameters(), expected.parameters, "{}", expected.arch);
        let dims = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let lines: String = tensors.iter().map(|(name, shape)| format!("{name} {}\n", dims(shape))).collect();
        let md5: String = Md5::digest(&lines).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(md5, expected.md5, "{}", expected.arch);
    }
}

/// The latents of a weight are named after it and have its shape.
#[test]
fn latents_stand_in_place_of_their_weight() {
    let plain = learned(&plan("resnet18", Method::FP32, 1).store);
    let method = Method::new(MethodName::S3, 3).expect("legal bits");
    let network = plan("resnet18", method, 1);
    let latents = learned(&network.store);
    let mut latents = latents.iter();
    for (name, shape) in &plain {
        let block_conv = shape.len() == 4 && name != "conv1.weight";
        let suffixes: &[&str] = if block_conv { &["_sign", "_sparse", "_t1", "_t2"] } else { &[""] };
        for suffix in suffixes {
            let latent = latents.next().expect("as many tensors");
            assert_eq!((&latent.0, &latent.1), (&format!("{name}{suffix}"), shape));
        }
    }
    assert!(latents.next().is_none());
    assert_eq!(network.store.parameters(), 11_689_512);
}

/// ResNet-50's latents at 5 bits are 16 planes of 23 million weights, 1.5 GB: they are cut into ranges.
#[test]
fn every_buffer_can_be_bound_everywhere() {
    for (arch, method, bits) in [("resnet152", MethodName::Fp32, 32), ("resnet50", MethodName::S3, 5)] {
        let network = plan(arch, Method::new(method, bits).expect("legal bits"), 8);
        network.plan.check_limit(LIMIT, "every adapter").expect("all buffers are small enough");
        for dispatch in List::ALL.iter().flat_map(|&list| network.plan.list(list)) {
            for view in &dispatch.views {
                let buffer = &network.plan.buffers[view.buffer.0];
                assert!(view.offset + view.len <= buffer.len(), "{}: {}", dispatch.label, buffer.name);
                assert_eq!(view.offset % 64, 0, "{}: {}", dispatch.label, buffer.name);
            }
        }
        if method == MethodName::S3 {
            let latents: usize = network.store.ranges.iter().map(|range| range.latents.len).sum();
            assert!(network.store.ranges.len() >= 12 && latents >= 16 * 23_000_000, "{latents}");
        }
        let error = network.plan.check_limit(1 << 20, "a small adapter").expect_err("a MiB is too little");
        assert!(error.to_string().contains("a small adapter binds at most 1048576 bytes"), "{error}");
    }
}
