//! From a network to a plan: buffers, and the dispatches of a training step and of an evaluation.

use super::fuse::{self, Norm, Unit};
use super::graph::{Graph, INPUT_CHANNELS, Op};
use super::params::Store;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kernels::choose::{self, Choices, Chosen};
use crate::kernels::conv2d_forward::Params as Conv;
use crate::kernels::*;
use crate::method::Method;
use crate::plan::{ALIGN, Capabilities, Elem, List, Plan, Role, View};
use std::sync::Arc;

/// What a network is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of the weights of the residual blocks.
    pub method: Method,
    /// Images of a micro-batch: what the buffers hold.
    pub micro_batch: usize,
    /// Images of an effective batch, a multiple of `micro_batch`.
    pub batch: usize,
    /// What the update adds to gradients, and its momentum.
    pub hyper: Hyper,
    /// Share of each label that is spread over all classes while training, as PyTorch's `CrossEntropyLoss` has it.
    pub label_smoothing: f32,
    /// Mean and standard deviation of the input's channels, in 0..1.
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// Of the adapter that will run it.
    pub capabilities: Capabilities,
    /// Without it there is only the evaluation.
    pub train: bool,
}

impl Options {
    fn check(&self) -> Result<()> {
        let Options { micro_batch, batch, label_smoothing, mean, std, .. } = *self;
        if micro_batch == 0 {
            return Err(Error::setting("micro_batch", micro_batch, "at least 1"));
        }
        if batch == 0 || !batch.is_multiple_of(micro_batch) {
            let expected = format!("a multiple of micro_batch, {micro_batch}");
            return Err(Error::setting("batch", batch, expected));
        }
        if !(0.0..1.0).contains(&label_smoothing) {
            return Err(Error::setting("label_smoothing", label_smoothing, "in 0 to 1, without 1"));
        }
        match mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| *s > 0.0 && s.is_finite()) {
            true => Ok(()),
            false => {
                let got = format!("{mean:?} and {std:?}");
                Err(Error::setting("mean and std", got, "numbers, and positive ones"))
            }
        }
    }
}

/// A network with its plan.
#[derive(Clone, Debug)]
pub struct Network {
    /// What engines execute.
    pub plan: Arc<Plan>,
    /// The layers.
    pub graph: Graph,
    /// Where parameters and their gradients lie.
    pub store: Store,
    /// What it was compiled for.
    pub options: Options,
    /// What the host writes and reads.
    pub io: Io,
    /// What kernels look up, written once.
    pub tables: Vec<(View, Vec<u32>)>,
    /// The variants that run, by problem.
    pub chosen: Chosen,
}

/// The buffers through which the host talks to a network.
#[derive(Clone, Copy, Debug)]
pub struct Io {
    /// What the host writes before each micro-batch: [`Step`].
    pub step: View,
    /// (micro-batch, 3, H, W) bytes.
    pub images: View,
    /// (micro-batch): class numbers.
    pub labels: View,
    /// (micro-batch, 4): loss, top-1, top-5, class of each image.
    pub result: View,
    /// ([`softmax_cross_entropy::ROWS`], 4): loss, top-1, top-5, step.
    pub log: View,
    /// First element: the first step whose loss was not finite.
    pub status: View,
}

impl Io {
    /// The buffers for batches of `n` images of `h` x `w`.
    pub(crate) fn new(plan: &mut Plan, n: usize, [h, w]: [usize; 2]) -> Io {
        Io {
            step: plan.buffer("step", &[Step::LEN], Elem::U32, Role::Input),
            images: plan.buffer("images", &[augment::image_words(n, h, w)], Elem::U32, Role::Input),
            labels: plan.buffer("labels", &[n], Elem::U32, Role::Input),
            result: plan.buffer("result", &[n, 4], Elem::F32, Role::State),
            log: plan.buffer("log", &[softmax_cross_entropy::ROWS, 4], Elem::F32, Role::State),
            status: plan.buffer("status", &[softmax_cross_entropy::STATUS_LEN], Elem::U32, Role::State),
        }
    }

    /// What the loss reads and writes.
    pub(crate) fn loss(&self) -> softmax_cross_entropy::Tensors {
        let Io { step, labels, result, log, status, .. } = *self;
        softmax_cross_entropy::Tensors { step, labels, result, log, status }
    }

    /// Writes what a micro-batch is, before its images and labels.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn write_step(&self, engine: &mut dyn Engine, step: &Step) -> Result<()> {
        engine.write(self.step, bytemuck::bytes_of(step))
    }

    /// Writes the images' classes, at most a micro-batch of them: each below the number of classes, or
    /// [`softmax_cross_entropy::NO_LABEL`] where there is no image.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn write_labels(&self, engine: &mut dyn Engine, labels: &[u32]) -> Result<()> {
        engine.write(self.labels, bytemuck::cast_slice(labels))
    }

    /// Writes images (3, H, W) of bytes, at most a micro-batch of them.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn write_images(&self, engine: &mut dyn Engine, images: &[u8]) -> Result<()> {
        match images.len() % 4 {
            0 => engine.write(self.images, images),
            // Buffers are written in whole words.
            rest => engine.write(self.images, &[images, &[0; 4][rest..]].concat()),
        }
    }
}

impl Network {
    /// Plans `graph`, with variants by the rule.
    ///
    /// # Errors
    /// As [`Network::compile_with`].
    pub fn compile(graph: Graph, options: Options) -> Result<Network> {
        Network::compile_with(graph, options, &Choices::default())
    }

    /// Plans `graph`, with variants by `choices`.
    ///
    /// # Errors
    /// [`Error::Setting`] that names an option, [`Error::Usage`] for a layer that no kernel computes (see [`Graph::check`]), or for
    /// a batch norm or a ReLU that none computes alone.
    pub fn compile_with(graph: Graph, options: Options, choices: &Choices) -> Result<Network> {
        options.check()?;
        graph.check()?;
        let mut plan = Plan::default();
        let n = options.micro_batch;
        let [h, w] = graph.image();
        let io = Io::new(&mut plan, n, [h, w]);
        let family = options.train.then(|| options.method.family());
        let store =
            Store::new(&mut plan, &graph, family.as_deref(), options.capabilities.max_binding, options.train);
        let units = fuse::units(&graph)?;
        let unused = plan.buffer("unused", &[2, ALIGN], Elem::F32, Role::State);
        let unwritten = plan.buffer("unwritten", &[ALIGN], Elem::F32, Role::State);
        let mut compiler = Compiler {
            plan,
            graph: &graph,
            store: &store,
            options: &options,
            choices,
            io,
            n,
            unused: [0, 1].map(|i| unused.slice(i * ALIGN, UNUSED)),
            unwritten: unwritten.slice(0, UNUSED),
            tables: vec![],
        };
        if options.train {
            let (outputs, dlogits) = compiler.forward(&units, true)?;
            compiler.backward(&units, &outputs, dlogits)?;
            compiler.update()?;
        }
        compiler.forward(&units, false)?;
        let tables = compiler.tables;
        let mut plan = compiler.plan;
        if options.train && options.batch > n {
            for dispatch in plan.list(List::Backward).to_vec() {
                plan.push(List::BackwardAdd, accumulating(&dispatch));
            }
        }
        let chosen = choose::chosen(List::ALL.iter().flat_map(|&list| plan.list(list)));
        Ok(Network { plan: Arc::new(plan), graph, store, options, io, tables, chosen })
    }
}

/// What a layer leaves behind for later ones and for its backward pass.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub y: View,
    /// Convolution: the statistics of its chunks. Batch norm: (2, C) of the batch. Max-pool: the winners.
    pub extra: Option<View>,
}

/// The outputs by layer; none for a layer that is computed within another's dispatch.
pub(super) type Outputs = Vec<Option<Output>>;

pub(super) struct Compiler<'a> {
    pub plan: Plan,
    pub graph: &'a Graph,
    pub store: &'a Store,
    pub options: &'a Options,
    pub choices: &'a Choices,
    pub io: Io,
    pub n: usize,
    /// What dispatches bind where they read nothing, at most two at a time, and where they write nothing.
    pub unused: [View; 2],
    pub unwritten: View,
    pub tables: Vec<(View, Vec<u32>)>,
}

/// The output of layer `i`.
pub(super) fn output(outputs: &Outputs, i: usize) -> Output {
    outputs[i].expect("layers that others read have an output, and come before them")
}

impl Compiler<'_> {
    /// (N, H, W, C) of layer `node`'s output.
    pub fn shape(&self, node: usize) -> [usize; 4] {
        let [h, w, c] = self.graph.nodes[node].shape;
        [self.n, h, w, c]
    }

    /// The convolution of layer `node`, cut for the adapter.
    pub fn conv(&self, node: usize, stats: bool) -> Conv {
        let Op::Conv { k, size, stride, .. } = self.graph.nodes[node].op else {
            unreachable!("{} is no convolution", self.graph.nodes[node].name)
        };
        let conv = Conv::new(self.shape(self.graph.nodes[node].inputs[0]), k, size, stride);
        let variant = self.variant(&conv2d_forward::KERNEL, &conv);
        conv.cut(variant, self.options.capabilities.invocations(), stats)
    }

    pub fn variant(&self, kernel: &'static Kernel, conv: &Conv) -> &'static Variant {
        self.choices.variant(kernel, conv, &self.options.capabilities)
    }

    /// The batch norm of `norm` as its kernels see it.
    pub fn norm_shape(&self, norm: &Norm) -> batch_norm::Shape {
        let [n, h, w, c] = self.shape(norm.norm);
        batch_norm::Shape { rows: n * h * w, channels: c, relu: norm.relu, residual: norm.residual.is_some() }
    }

    /// Images to loss and dlogits, with the batch's statistics (`train`) or the running ones.
    fn forward(&mut self, units: &[Unit], train: bool) -> Result<(Outputs, View)> {
        let list = if train { List::Forward } else { List::Evaluate };
        let prefix = if train { "" } else { "eval " };
        let graph = self.graph;
        let mut outputs: Outputs = vec![None; graph.nodes.len()];
        for &unit in units {
            let (Unit::Layer(i) | Unit::Norm(Norm { output: i, .. })) = unit;
            let y = self.plan.scratch(format!("{prefix}{}", graph.nodes[i].name), &self.shape(i));
            let extra = match unit {
                Unit::Layer(i) => self.forward_layer(list, i, &outputs, y)?,
                Unit::Norm(norm) => self.forward_norm(list, &norm, &outputs, y)?,
            };
            outputs[i] = Some(Output { y, extra });
        }
        let (n, classes) = (self.n, graph.classes());
        let logits = output(&outputs, graph.nodes.len() - 1).y;
        let dlogits = self.plan.scratch(format!("{prefix}dlogits"), &[n, classes]);
        let tensors = self.io.loss();
        let Options { batch, label_smoothing, .. } = *self.options;
        let train = train.then_some(label_smoothing);
        let loss =
            softmax_cross_entropy::dispatch("loss", [n, classes], batch, train, logits, tensors, dlogits)?;
        self.plan.push(list, loss);
        Ok((outputs, dlogits))
    }

    fn forward_layer(&mut self, list: List, i: usize, outputs: &Outputs, y: View) -> Result<Option<View>> {
        let node = &self.graph.nodes[i];
        let name = node.name.as_str();
        let from = node.inputs.first().map(|&input| self.shape(input));
        let inputs: Vec<View> = node.inputs.iter().map(|&input| output(outputs, input).y).collect();
        let x = inputs.first().copied();
        let dispatch = match (node.op, from, x) {
            (Op::Conv { .. }, _, Some(x)) => return self.forward_conv(list, i, x, y),
            (Op::Add, ..) => add::dispatch(name, inputs[0], inputs[1], y)?,
            (Op::ShortcutA { k }, Some(from), Some(x)) => {
                shortcut_a::dispatch(name, shortcut_a::Params::new(from, k), x, y)?
            }
            (Op::MaxPool, Some(from), Some(x)) => {
                let winner =
                    self.plan.buffer(format!("{name}.winner"), &self.shape(i), Elem::U32, Role::Scratch);
                let pool = max_pool::dispatch(name, max_pool::Params::new(from), x, y, winner)?;
                self.plan.push(list, pool);
                return Ok(Some(winner));
            }
            (Op::GlobalAvgPool, Some(from), Some(x)) => {
                global_avg_pool::dispatch(name, global_avg_pool::Params::new(from), x, y)?
            }
            (Op::Linear { k }, Some([n, _, _, c]), Some(x)) => {
                let [w, b] = ["weight", "bias"].map(|s| self.store.learned(&format!("{name}.{s}"))[0]);
                linear::dispatch(name, linear::Params::new(n, c, k), x, [w, b], y)?
            }
            (Op::Input, ..) => {
                let [h, w, _] = node.shape;
                debug_assert_eq!(node.shape[2], INPUT_CHANNELS);
                let Options { mean, std, .. } = *self.options;
                augment::dispatch(name, [self.n, h, w], mean, std, self.io.step, self.io.images, y)?
            }
            (op, ..) => unreachable!("{op:?} stands behind a batch norm, or has no input"),
        };
        self.plan.push(list, dispatch);
        Ok(None)
    }

    /// Also the statistics of its chunks, where they are needed.
    fn forward_conv(&mut self, list: List, i: usize, x: View, y: View) -> Result<Option<View>> {
        let name = self.graph.nodes[i].name.as_str();
        let train = list == List::Forward;
        let conv = self.conv(i, train);
        let [w, _] = self.store.learned(&format!("{name}.weight"));
        let partial = train.then(|| self.plan.scratch(format!("{name}.stats"), &[conv.partial_len()]));
        let dispatch = conv2d_forward::dispatch(name, conv, [x, w], y, partial.unwrap_or(self.unwritten))?;
        self.plan.push(list, with_variant(dispatch, self.variant(&conv2d_forward::KERNEL, &conv)));
        Ok(partial)
    }

    /// Returns (2, C) of the batch.
    fn forward_norm(&mut self, list: List, norm: &Norm, outputs: &Outputs, y: View) -> Result<Option<View>> {
        let name = self.graph.nodes[norm.norm].name.as_str();
        let shape = self.norm_shape(norm);
        let Output { y: x, extra: partial } = output(outputs, norm.conv);
        let prefix = if list == List::Forward { "" } else { "eval " };
        let stats = self.plan.scratch(format!("{prefix}{name}.stats"), &[2, shape.channels]);
        let conv = partial.map(|_| self.conv(norm.conv, true));
        let tensors = batch_norm::Tensors {
            partial: partial.unwrap_or(self.unused[0]),
            affine: ["weight", "bias"].map(|s| self.store.learned(&format!("{name}.{s}"))[0]),
            residual: norm.residual.map_or(self.unused[1], |i| output(outputs, i).y),
            running: self.store.running(name),
            stats,
        };
        let invocations = self.options.capabilities.invocations();
        let dispatch = batch_norm::dispatch(name, shape, conv.as_ref(), invocations, x, tensors, y)?;
        self.plan.push(list, dispatch);
        Ok(Some(stats))
    }

    /// Gradients to new parameters.
    fn update(&mut self) -> Result<()> {
        let control = [self.io.step, self.io.status];
        let hyper = self.options.hyper;
        for bank in &self.store.banks {
            let sgd = sgd::dispatch("sgd", hyper, control, bank.gradients, bank.momenta, bank.values)?;
            self.plan.push(List::Update, sgd);
        }
        let family = self.options.method.family();
        for &range in &self.store.ranges {
            let update = latent_update::dispatch("latents", family.as_ref(), hyper, control, range)?;
            self.plan.push(List::Update, update);
        }
        if let Some(threshold) = family.threshold() {
            self.by_layer(threshold)?;
        }
        Ok(())
    }

    /// Weights that depend on the mean magnitude of their layer's latents, after the update and wherever the host wrote latents.
    fn by_layer(&mut self, threshold: f32) -> Result<()> {
        let store = self.store;
        let (first, blocks) = store.first_blocks();
        let layers = store.family_layers.len();
        let sums = self.plan.buffer("magnitudes", &[blocks], Elem::F32, Role::State);
        let means = self.plan.buffer("mean_magnitudes", &[layers], Elem::F32, Role::State);
        let table = self.plan.buffer("layer_blocks", &[layers, 3], Elem::U32, Role::State);
        let mut dispatches = Vec::new();
        for (range, first) in store.ranges.iter().zip(first) {
            let v = range.latents.slice(0, range.w.len);
            let sums = sums.slice(first, v.len / BLOCK);
            dispatches.push(magnitudes::dispatch("latents", v, sums)?);
        }
        dispatches.push(layer_means::dispatch("latents", table, sums, means)?);
        for range in &store.ranges {
            let (layers, w, changes) = (range.layers, range.w, range.changes);
            let v = range.latents.slice(0, w.len);
            let tensors = ternarize::Tensors { layers, means, v, w, changes };
            dispatches.push(ternarize::dispatch("latents", threshold, tensors)?);
        }
        for dispatch in dispatches {
            self.plan.push(List::Update, dispatch.clone());
            self.plan.push(List::Weights, dispatch);
        }
        self.tables.push((table, store.layer_blocks()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Arch, Shortcut};
    use crate::plan::AdapterKind;

    fn legal() -> Options {
        Options {
            method: Method::FP32,
            micro_batch: 2,
            batch: 6,
            hyper: Hyper { momentum: 0.9, weight_decay: 0.0, alpha: 0.0 },
            label_smoothing: 0.0,
            mean: [0.5; 3],
            std: [0.25; 3],
            capabilities: Capabilities { kind: AdapterKind::Host, max_binding: 1 << 30, subgroups: false },
            train: true,
        }
    }

    #[test]
    fn illegal_options_are_named() {
        let arch: Arch = "resnet8".parse().expect("known");
        let compiled = |options| {
            let graph = arch.build(Shortcut::B, [8, 12], 3).expect("legal");
            Network::compile(graph, options).map(drop)
        };
        compiled(legal()).expect("legal");
        for (options, name) in [
            (Options { micro_batch: 0, ..legal() }, "micro_batch is 0"),
            (Options { batch: 0, ..legal() }, "batch is 0"),
            (Options { batch: 5, ..legal() }, "batch is 5"),
            (Options { label_smoothing: 1.0, ..legal() }, "label_smoothing is 1"),
            (Options { std: [0.25, 0.0, 0.25], ..legal() }, "mean and std"),
        ] {
            let error = compiled(options).expect_err(name).to_string();
            assert!(error.starts_with(name), "{error}");
        }
        for (image, classes, problem) in [([0, 8], 3, "0x8"), ([8, 8], 0, "classes")] {
            let error = arch.build(Shortcut::B, image, classes).expect_err(problem).to_string();
            assert!(error.contains(problem), "{error}");
        }
        let mut graph = arch.build(Shortcut::B, [8, 12], 3).expect("legal");
        graph.nodes[1].op = Op::Conv { k: 16, size: 3, stride: 0, family: false };
        let error = Network::compile(graph, legal()).expect_err("stride 0").to_string();
        assert!(error.contains("layer conv1"), "{error}");
    }
}
