//! Every dispatch of a training step on the adapter and on its CPU twin, from the same input.
//!
//! The bound: a kernel that adds up K terms, or takes about as many operations to an element, may differ from
//! its twin (which mostly adds in f64) by `C K eps` of the largest magnitude among neighbours: elements of one
//! dimension, such as the mean and not the variance of all channels. Integers and discrete weights are equal, but for
//! weights with a latent within that bound of 0.

use crate::support::gpu;
use shiftnet::data::synthetic;
use shiftnet::engine::{Engine, Target};
use shiftnet::kernels::choose::Choices;
use shiftnet::kernels::{self, Access, Hyper, Step};
use shiftnet::method::{InitName, Method, MethodName};
use shiftnet::model::{Arch, Network, Options, Shortcut, state};
use shiftnet::plan::{Dispatch, Elem, List};

const C: f32 = 8.0;

/// A parameter of a dispatch.
pub fn param(dispatch: &Dispatch, name: &str) -> usize {
    let fields = kernels::get(dispatch.stem).params;
    let (_, at) = fields.iter().find(|(field, _)| *field == name).expect("the kernel has this parameter");
    u32::from_le_bytes(dispatch.params[*at..*at + 4].try_into().expect("four bytes")) as usize
}

/// K: how many terms an element of the result has.
fn terms(d: &Dispatch) -> usize {
    let p = |name| param(d, name);
    match d.stem {
        "conv2d_forward" => p("r") * p("s") * p("c"),
        "conv2d_input_grad" => p("r") * p("s") * p("k"),
        "conv2d_weight_grad" => (p("n") * p("p")).div_ceil(p("splits")) * p("q"),
        // Of the sum of parts: the batch-norm statistics merge fewer chunks than this, and weights have fewer parts.
        "sum_partials" => 512,
        // Several invocations share the chunks, and means do not cancel.
        "batch_norm" => (p("chunks") / 16).max(1),
        "batch_norm_backward" => p("chunks"),
        "batch_norm_backward_reduce" => p("chunk"),
        "global_avg_pool" => p("area"),
        "linear" => 4 * p("c_quads"),
        "linear_input_grad" => p("k"),
        "softmax_cross_entropy" => p("k").max(p("n")),
        "linear_weight_grad" => p("n"),
        _ => 1,
    }
}

/// Elements that follow each other and have one scale.
fn neighbours(d: &Dispatch, binding: &str, len: usize) -> usize {
    match (d.stem, binding) {
        ("batch_norm", "stats" | "running") => 4 * param(d, "quads"),
        ("batch_norm_backward_reduce", "partial") => 4 * param(d, "quads"),
        ("conv2d_forward", "partial") => param(d, "k"),
        ("softmax_cross_entropy", "result" | "history") => 4,
        ("s3_update" | "sgd", _) => 64,
        _ => len,
    }
}

/// Compares two results of `binding`; returns what is wrong, and the worst difference in units of K eps.
fn differences(d: &Dispatch, binding: &str, got: &[f32], want: &[f32], may_differ: &[bool]) -> (usize, f32) {
    assert!(!want.is_empty() && got.len() == want.len());
    let unit = terms(d) as f32 * f32::EPSILON;
    let (mut wrong, mut worst) = (0, 0.0f32);
    let part = neighbours(d, binding, want.len());
    for (at, (got, want)) in got.chunks(part).zip(want.chunks(part)).enumerate() {
        let scale = want.iter().fold(f32::MIN_POSITIVE, |most, w| most.max(w.abs()));
        for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
            if binding == "w" && d.stem == "s3_update" {
                wrong += usize::from(got != want && !may_differ[at * part + i]);
                continue;
            }
            let difference = (got - want).abs() / (scale * unit);
            worst = worst.max(difference);
            wrong += usize::from(difference.is_nan() || difference > C);
        }
    }
    (wrong, worst)
}

/// For each weight of an update: whether one of its `latents` is so near to 0 that rounding decides its side.
fn near_zero(latents: &[f32], weights: usize) -> Vec<bool> {
    let mut near = vec![false; weights];
    for plane in latents.chunks(weights) {
        for (near, plane) in near.chunks_mut(64).zip(plane.chunks(64)) {
            let largest = plane.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            near.iter_mut().zip(plane).for_each(|(near, x)| *near |= x.abs() <= C * f32::EPSILON * largest);
        }
    }
    near
}

/// Both engines with one plan.
struct Pair {
    network: Network,
    gpu: Box<dyn Engine>,
    host: Box<dyn Engine>,
    /// What was wrong: kernel, binding, layer.
    wrong: Vec<String>,
    compared: usize,
}

impl Pair {
    fn new(arch: &str, side: usize, [batch, micro_batch]: [usize; 2], target: &Target) -> Pair {
        let arch: Arch = arch.parse().expect("a known architecture");
        let graph = arch.build(Shortcut::B, [side, side], 10).expect("shortcut B");
        let options = Options {
            method: Method::new(MethodName::S3, 3).expect("legal bits"),
            micro_batch,
            batch,
            // Decay and regularizer large enough to be seen.
            hyper: Hyper { momentum: 0.9, weight_decay: 1e-2, alpha: 1e-2 },
            label_smoothing: 0.1,
            mean: [0.5; 3],
            std: [0.25; 3],
            capabilities: target.capabilities(),
            train: true,
        };
        let network = Network::compile_with(graph, options, target.choices()).expect("layers fit together");
        let mut gpu = target.load(network.plan.clone()).expect("small enough");
        let host = Target::twins().load(network.plan.clone()).expect("small enough");
        state::upload(gpu.as_mut(), &network, &state::initial(&network, InitName::Normal, 1)).expect("runs");
        Pair { network, gpu, host, wrong: vec![], compared: 0 }
    }

    /// Writes synthetic images, enlarged to the network's size, as micro-batch `micro` of `step`.
    fn feed(&mut self, step: u32, micro: usize) {
        let (n, side, io) =
            (self.network.options.micro_batch, self.network.graph.image()[0], self.network.io);
        let (mut pixels, mut images, mut labels) = (vec![0; synthetic::BYTES], vec![], vec![]);
        for i in 0..n {
            labels.push(u32::from(synthetic::image(
                5,
                synthetic::TRAIN,
                (micro * n + i) as u32,
                &mut pixels,
            )));
            let small = synthetic::SIDE;
            let from = |i: usize| i / side / side * small * small + i / side % side * small / side * small;
            images.extend((0..3 * side * side).map(|i| pixels[from(i) + i % side * small / side]));
        }
        let header = Step {
            step,
            slot: step,
            micro: micro as u32,
            first: (micro * n) as u32,
            seed: [3, 4],
            lr: 0.05,
            augment: 1,
        };
        self.gpu.write(io.step, bytemuck::bytes_of(&header)).expect("runs");
        self.gpu.write(io.images, &images).expect("runs");
        self.gpu.write(io.labels, bytemuck::cast_slice(&labels)).expect("runs");
    }

    /// Runs `list` dispatch by dispatch on both, each from what the GPU has, and compares what is written.
    fn run(&mut self, list: List) {
        let plan = self.network.plan.clone();
        for (i, dispatch) in plan.list(list).iter().enumerate() {
            for &view in &dispatch.views {
                let before = self.gpu.fetch(view).expect("runs");
                self.host.write(view, &before).expect("runs");
            }
            self.gpu.run_part(list, i..i + 1).expect("runs");
            self.host.run_part(list, i..i + 1).expect("runs");
            self.compare(dispatch);
        }
    }

    fn compare(&mut self, dispatch: &Dispatch) {
        let mut may_differ = vec![];
        if dispatch.stem == "s3_update" {
            let latents = self.host.fetch_f32(dispatch.views[5]).expect("runs");
            may_differ = near_zero(&latents, dispatch.views[6].len);
        }
        for (binding, &view) in kernels::get(dispatch.stem).bindings.iter().zip(&dispatch.views) {
            if binding.access == Access::Read {
                continue;
            }
            let [got, want] = [&mut self.gpu, &mut self.host].map(|engine| engine.fetch(view).expect("runs"));
            let place = format!("{} {} of {}", dispatch.stem, binding.name, dispatch.label);
            self.compared += view.len;
            if binding.elem == Elem::U32 {
                let [got, want] = [got, want].map(|bytes| bytemuck::pod_collect_to_vec::<u8, u32>(&bytes));
                let off: usize = got.iter().zip(&want).map(|(g, w)| g.abs_diff(*w) as usize).sum();
                // Counters of flipped signs share the weights' exception.
                if off > may_differ.iter().filter(|near| **near).count() {
                    self.wrong.push(format!("{place}: off by {off}"));
                }
                continue;
            }
            let [got, want] = [got, want].map(|bytes| bytemuck::pod_collect_to_vec::<u8, f32>(&bytes));
            let (wrong, worst) = differences(dispatch, binding.name, &got, &want, &may_differ);
            if wrong > 0 {
                let len = want.len();
                self.wrong.push(format!("{place}: {wrong} of {len} elements, up to {worst:.1} K eps"));
            }
        }
    }

    /// A step: every micro-batch, and the update.
    fn step(&mut self, step: u32) {
        for micro in 0..self.network.options.batch / self.network.options.micro_batch {
            self.feed(step, micro);
            self.run(List::Forward);
            self.run(if micro == 0 { List::Backward } else { List::BackwardAdd });
        }
        self.run(List::Update);
    }

    fn assert_equal(&self) {
        assert!(self.compared > 0);
        assert!(
            self.wrong.is_empty(),
            "{} layers, {} elements compared:\n{}",
            self.network.graph.nodes.len(),
            self.compared,
            self.wrong.join("\n")
        );
    }
}

/// Two steps, so that momenta are not 0, of two micro-batches, and an evaluation.
#[test]
fn every_dispatch_of_resnet8_agrees_with_its_twin() {
    let mut pair = Pair::new("resnet8", 32, [8, 4], &gpu());
    pair.step(1);
    pair.step(2);
    pair.run(List::Evaluate);
    pair.assert_equal();
}

#[test]
fn every_dispatch_of_resnet8_by_other_variants_agrees_with_its_twin() {
    for name in ["registers", "tile", "direct"] {
        let target = gpu().with_choices(Choices::forced(name).expect("a family of variants"));
        let mut pair = Pair::new("resnet8", 32, [4, 4], &target);
        // Direct variants are of two kernels, and of the convolutions with 3 x 3 taps and stride 1.
        let able = |problem: &str| {
            name != "direct" || (!problem.contains("weight_grad") && problem.contains("3x3, stride 1"))
        };
        let convolutions = || pair.network.chosen.iter().filter(|(problem, _)| able(problem));
        assert!(convolutions().count() > 6 && convolutions().all(|(_, chosen)| chosen.starts_with(name)));
        pair.step(1);
        pair.run(List::Evaluate);
        pair.assert_equal();
    }
}

/// The host's fast kernels, in batches that leave tasks of several sizes.
#[test]
fn every_dispatch_of_the_hosts_fast_kernels_agrees_with_its_twin() {
    let mut pair = Pair::new("resnet8", 32, [12, 6], &Target::host());
    pair.step(1);
    pair.step(2);
    pair.run(List::Evaluate);
    pair.assert_equal();
    let mut pair = Pair::new("resnet50", 64, [2, 2], &Target::host());
    pair.step(1);
    pair.assert_equal();
}

/// Batch 2: in the last stage a batch norm sees 2 x 2 x 2 pixels.
#[test]
fn every_dispatch_of_resnet18_agrees_with_its_twin() {
    let mut pair = Pair::new("resnet18", 64, [2, 2], &gpu());
    pair.step(1);
    pair.assert_equal();
}

#[test]
fn every_dispatch_of_resnet50_agrees_with_its_twin() {
    let mut pair = Pair::new("resnet50", 64, [2, 2], &gpu());
    pair.step(1);
    pair.assert_equal();
}

/// The comparison objects to small mistakes in a shader, and to nothing else.
#[test]
fn broken_shaders_are_noticed() {
    let mistakes = [
        ("batch_norm", "+ EPS", "+ 2.0 * EPS"),
        ("s3_update", "power_of_shift - pull", "power_of_shift + pull"),
        ("s3_update", "sign_of(new_sign)", "-sign_of(new_sign)"),
        ("softmax_cross_entropy", "sum.x * params.scale", "sum.x * 0.99999 * params.scale"),
        ("batch_norm_backward_reduce", "y[i] >", "y[i] >="),
    ];
    for (stem, right, wrong) in mistakes {
        let source = kernels::get(stem).variants[0].source;
        assert!(source.contains(right), "{stem} has no `{right}`");
        let target = gpu().with_shader(stem, source.replace(right, wrong));
        let mut pair = Pair::new("resnet8", 32, [2, 2], &target);
        pair.step(1);
        assert!(!pair.wrong.is_empty(), "{stem} with {wrong}");
        assert!(pair.wrong.iter().all(|complaint| complaint.starts_with(stem)), "{:?}", pair.wrong);
    }
}
