//! From a network to a plan: buffers, and the dispatches of a training step and of an evaluation.

use super::graph::{Graph, INPUT_CHANNELS, Op};
use super::params::Store;
use crate::error::Result;
use crate::kernels::batch_norm_stats::Params as Rows;
use crate::kernels::conv2d_forward::Params as Conv;
use crate::kernels::*;
use crate::method::Method;
use crate::plan::{Elem, List, Plan, Role, View};
use std::sync::Arc;

/// What a network is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub method: Method,
    /// Images of a micro-batch: what the buffers hold.
    pub micro_batch: usize,
    /// Images of an effective batch, a multiple of `micro_batch`.
    pub batch: usize,
    pub hyper: Hyper,
    /// Mean and standard deviation of the input's channels, in 0..1.
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// The largest binding of the adapter, in bytes.
    pub max_binding: u64,
    /// Invocations that fill the adapter.
    pub invocations: usize,
    /// Without it there is only the evaluation.
    pub train: bool,
}

/// A network with its plan.
#[derive(Clone, Debug)]
pub struct Network {
    pub plan: Arc<Plan>,
    pub graph: Graph,
    pub store: Store,
    pub options: Options,
    pub io: Io,
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
    /// ([`loss_log::ROWS`], 4): loss, top-1, top-5, step.
    pub log: View,
    /// First element: the first step whose loss was not finite.
    pub status: View,
}

impl Network {
    /// Plans `graph`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] where layers do not fit together.
    pub fn compile(graph: Graph, options: Options) -> Result<Network> {
        let mut plan = Plan::default();
        let n = options.micro_batch;
        let [h, w] = graph.image();
        let io = Io {
            step: plan.buffer("step", &[Step::LEN], Elem::U32, Role::Input),
            images: plan.buffer("images", &[augment::image_words(n, h, w)], Elem::U32, Role::Input),
            labels: plan.buffer("labels", &[n], Elem::U32, Role::Input),
            result: plan.buffer("result", &[n, 4], Elem::F32, Role::State),
            log: plan.buffer("log", &[loss_log::ROWS, 4], Elem::F32, Role::State),
            status: plan.buffer("status", &[loss_log::STATUS_LEN], Elem::U32, Role::State),
        };
        let family = options.method.family().filter(|_| options.train);
        let mut store = Store::new(&mut plan, &graph, family.as_deref(), options.max_binding, options.train);
        if let Some(family) = &family {
            store.name_latents(family.as_ref());
        }
        let mut compiler = Compiler { plan, graph: &graph, store: &store, options: &options, io, n };
        if options.train {
            let (outputs, dlogits) = compiler.forward(List::Forward, true)?;
            compiler.log()?;
            compiler.backward(&outputs, dlogits)?;
            compiler.update()?;
        }
        compiler.forward(List::Evaluate, false)?;
        let mut plan = compiler.plan;
        if options.train && options.batch > n {
            for dispatch in plan.list(List::Backward).to_vec() {
                plan.push(List::BackwardAdd, accumulating(&dispatch));
            }
        }
        Ok(Network { plan: Arc::new(plan), graph, store, options, io })
    }
}

/// What a layer leaves behind for its backward pass.
#[derive(Clone, Copy)]
struct Output {
    y: View,
    /// Batch norm: (2, C) of the batch. Max-pool: the winners.
    extra: Option<View>,
}

struct Compiler<'a> {
    plan: Plan,
    graph: &'a Graph,
    store: &'a Store,
    options: &'a Options,
    io: Io,
    n: usize,
}

impl Compiler<'_> {
    /// (N, H, W, C) of layer `node`'s output.
    fn shape(&self, node: usize) -> [usize; 4] {
        let [h, w, c] = self.graph.nodes[node].shape;
        [self.n, h, w, c]
    }

    /// Pixels of all images at layer `node`.
    fn rows(&self, node: usize) -> usize {
        let [n, h, w, _] = self.shape(node);
        n * h * w
    }

    fn conv(&self, node: usize) -> Option<Conv> {
        let Op::Conv { k, size, stride, .. } = self.graph.nodes[node].op else { return None };
        Some(Conv::new(self.shape(self.graph.nodes[node].inputs[0]), k, size, stride))
    }

    /// Images to loss and dlogits, with the batch's statistics (`train`) or the running ones.
    fn forward(&mut self, list: List, train: bool) -> Result<(Vec<Output>, View)> {
        let graph = self.graph;
        let prefix = if train { "" } else { "eval " };
        let mut outputs: Vec<Output> = Vec::new();
        for (i, node) in graph.nodes.iter().enumerate() {
            let y = self.plan.scratch(format!("{prefix}{}", node.name), &self.shape(i));
            let inputs: Vec<View> = node.inputs.iter().map(|&input| outputs[input].y).collect();
            let extra = self.forward_layer(list, train, i, &inputs, y)?;
            outputs.push(Output { y, extra });
        }
        let (n, classes) = (self.n, graph.classes());
        let logits = outputs[graph.nodes.len() - 1].y;
        let dlogits = self.plan.scratch(format!("{prefix}dlogits"), &[n, classes]);
        let inputs = [logits, self.io.labels];
        let loss = softmax_cross_entropy::dispatch(
            "loss",
            [n, classes],
            self.options.batch,
            inputs,
            self.io.result,
            dlogits,
        )?;
        self.plan.push(list, loss);
        Ok((outputs, dlogits))
    }

    fn forward_layer(
        &mut self,
        list: List,
        train: bool,
        i: usize,
        inputs: &[View],
        y: View,
    ) -> Result<Option<View>> {
        let node = &self.graph.nodes[i];
        let name = node.name.as_str();
        let from = node.inputs.first().map(|&input| self.shape(input));
        let x = inputs.first().copied();
        let dispatch = match (node.op, from, x) {
            (Op::Conv { .. }, _, Some(x)) => {
                let [w, _] = self.store.learned(&format!("{name}.weight"));
                let conv = self.conv(i).expect("this layer is a convolution");
                conv2d_forward::dispatch(name, conv, x, w, y)?
            }
            (Op::BatchNorm, _, Some(x)) => return self.forward_batch_norm(list, train, i, x, y).map(Some),
            (Op::Relu, _, Some(x)) => relu::dispatch(name, x, y)?,
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
            _ => {
                let [h, w, _] = node.shape;
                debug_assert_eq!(node.shape[2], INPUT_CHANNELS);
                let Options { mean, std, .. } = *self.options;
                augment::dispatch(name, [self.n, h, w], mean, std, self.io.step, self.io.images, y)?
            }
        };
        self.plan.push(list, dispatch);
        Ok(None)
    }

    fn forward_batch_norm(&mut self, list: List, train: bool, i: usize, x: View, y: View) -> Result<View> {
        let node = &self.graph.nodes[i];
        let (name, c, rows) = (node.name.as_str(), node.shape[2], self.rows(i));
        let running = self.store.running(name);
        let affine = ["weight", "bias"].map(|s| self.store.learned(&format!("{name}.{s}"))[0]);
        let mut stats = running;
        if train {
            stats = self.plan.scratch(format!("{name}.stats"), &[2, c]);
            let cut = Rows::new(rows, c);
            let partial = self.plan.scratch(format!("{name}.partial"), &[cut.partial_len()]);
            self.plan.push(list, batch_norm_stats::dispatch(name, cut, x, partial)?);
            self.plan.push(list, batch_norm_finalize::dispatch(name, cut, partial, stats, running)?);
        }
        self.plan.push(list, batch_norm_normalize::dispatch(name, rows, x, stats, affine, y)?);
        Ok(stats)
    }

    fn log(&mut self) -> Result<()> {
        let Io { step, result, log, status, .. } = self.io;
        let dispatch = loss_log::dispatch("loss", self.n, self.options.batch, [step, result], log, status)?;
        self.plan.push(List::Forward, dispatch);
        Ok(())
    }

    /// dlogits to the gradients of all parameters.
    fn backward(&mut self, outputs: &[Output], dlogits: View) -> Result<()> {
        let graph = self.graph;
        let mut gradients: Vec<Option<View>> = vec![None; graph.nodes.len()];
        gradients[graph.nodes.len() - 1] = Some(dlogits);
        for (i, node) in graph.nodes.iter().enumerate().rev() {
            let Some(dy) = gradients[i].filter(|_| node.op != Op::Input) else { continue };
            if node.op == Op::Add {
                for &input in &node.inputs {
                    self.contribute(&mut gradients, input, dy)?;
                }
                continue;
            }
            let input = node.inputs[0];
            // The images need no gradient.
            let dx =
                (input != 0).then(|| self.plan.scratch(format!("d{}:in", node.name), &self.shape(input)));
            self.backward_layer(i, outputs, dy, dx)?;
            if let Some(dx) = dx {
                self.contribute(&mut gradients, input, dx)?;
            }
        }
        Ok(())
    }

    /// Adds `d` to the gradient of layer `node`'s output.
    fn contribute(&mut self, gradients: &mut [Option<View>], node: usize, d: View) -> Result<()> {
        gradients[node] = Some(match gradients[node] {
            None => d,
            Some(other) => {
                let name = &self.graph.nodes[node].name;
                let sum = self.plan.scratch(format!("d{name}"), &self.shape(node));
                self.plan.push(List::Backward, add::dispatch(name, other, d, sum)?);
                sum
            }
        });
        Ok(())
    }

    fn backward_layer(&mut self, i: usize, outputs: &[Output], dy: View, dx: Option<View>) -> Result<()> {
        let node = &self.graph.nodes[i];
        let name = node.name.as_str();
        let from = self.shape(node.inputs[0]);
        let x = outputs[node.inputs[0]].y;
        let Output { y, extra } = outputs[i];
        let dispatch = match (node.op, dx, extra) {
            (Op::Conv { .. }, ..) => return self.backward_conv(i, x, dy, dx),
            (Op::BatchNorm, Some(dx), Some(stats)) => return self.backward_batch_norm(i, [x, stats], dy, dx),
            (Op::Linear { k }, Some(dx), _) => {
                let linear = linear::Params::new(from[0], from[3], k);
                let [[w, dw], [_, db]] =
                    ["weight", "bias"].map(|s| self.store.learned(&format!("{name}.{s}")));
                let weight = linear_weight_grad::dispatch(name, linear, x, dy, [dw, db])?;
                self.plan.push(List::Backward, weight);
                linear_input_grad::dispatch(name, linear, dy, w, dx)?
            }
            (Op::Relu, Some(dx), _) => relu_backward::dispatch(name, y, dy, dx)?,
            (Op::ShortcutA { k }, Some(dx), _) => {
                shortcut_a_backward::dispatch(name, shortcut_a::Params::new(from, k), dy, dx)?
            }
            (Op::MaxPool, Some(dx), Some(winner)) => {
                max_pool_backward::dispatch(name, max_pool::Params::new(from), winner, dy, dx)?
            }
            (Op::GlobalAvgPool, Some(dx), _) => {
                global_avg_pool_backward::dispatch(name, global_avg_pool::Params::new(from), dy, dx)?
            }
            (op, ..) => unreachable!("{op:?} reads the images, or has no backward"),
        };
        self.plan.push(List::Backward, dispatch);
        Ok(())
    }

    fn backward_conv(&mut self, i: usize, x: View, dy: View, dx: Option<View>) -> Result<()> {
        let name = self.graph.nodes[i].name.as_str();
        let mut conv = self.conv(i).expect("this layer is a convolution");
        let [w, dw] = self.store.learned(&format!("{name}.weight"));
        if let Some(dx) = dx {
            self.plan.push(List::Backward, conv2d_input_grad::dispatch(name, conv, dy, w, dx)?);
        }
        conv.splits =
            conv2d_weight_grad::splits(&conv, self.options.invocations, self.options.max_binding) as u32;
        let splits = conv.splits as usize;
        let partial = self.plan.scratch(format!("d{name}.partial"), &[splits, conv.w_len()]);
        self.plan.push(List::Backward, conv2d_weight_grad::dispatch(name, conv, x, dy, partial)?);
        self.plan.push(List::Backward, sum_partials::dispatch(name, splits, partial, dw)?);
        Ok(())
    }

    fn backward_batch_norm(&mut self, i: usize, [x, stats]: [View; 2], dy: View, dx: View) -> Result<()> {
        let node = &self.graph.nodes[i];
        let (name, c, rows) = (node.name.as_str(), node.shape[2], self.rows(i));
        let [[gamma, dgamma], [_, dbeta]] =
            ["weight", "bias"].map(|s| self.store.learned(&format!("{name}.{s}")));
        let cut = Rows::new(rows, c);
        let partial = self.plan.scratch(format!("d{name}.partial"), &[cut.partial_len()]);
        let sums = self.plan.scratch(format!("d{name}.sums"), &[2, c]);
        let affine = [dgamma, dbeta];
        let reduce = batch_norm_backward_reduce::dispatch(name, cut, x, stats, dy, partial)?;
        let finalize = batch_norm_backward_finalize::dispatch(name, cut, partial, sums, affine)?;
        let apply = batch_norm_backward::dispatch(name, rows, [x, stats, gamma, sums], dy, dx)?;
        for dispatch in [reduce, finalize, apply] {
            self.plan.push(List::Backward, dispatch);
        }
        Ok(())
    }

    /// Gradients to new parameters.
    fn update(&mut self) -> Result<()> {
        let control = [self.io.step, self.io.status];
        let hyper = self.options.hyper;
        for bank in &self.store.banks {
            let sgd = sgd::dispatch("sgd", hyper, control, bank.gradients, bank.momenta, bank.values)?;
            self.plan.push(List::Update, sgd);
        }
        if let Some(family) = self.options.method.family() {
            for &range in &self.store.ranges {
                self.plan.push(List::Update, family.update("latents", hyper, control, range)?);
            }
        }
        Ok(())
    }
}
