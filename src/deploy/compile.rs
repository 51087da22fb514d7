//! A model to a plan: one dispatch a convolution, in one of three arithmetics.

use super::requantize::{self, Exponents, Requantization};
use super::{Conv, Model, unfit};
use crate::error::{Error, Result};
use crate::kernels::choose::{self, Choices, Chosen};
use crate::kernels::conv2d_forward::Params as Shape;
use crate::kernels::*;
use crate::method::codec;
use crate::model::compile::Io;
use crate::model::fuse::{self, Norm, Unit};
use crate::model::graph::{Graph, Op};
use crate::model::params::Layout;
use crate::plan::{Capabilities, Elem, List, Plan, Role, View};
use std::sync::Arc;

/// What activations are, and how they are multiplied with the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arith {
    /// f32 activations; discrete weights are decoded to f32.
    #[default]
    Float,
    /// Integers of `bits`, 8 or 16, by shifts and flips of sign.
    Shift { bits: u32 },
    /// Integers of 8 bits, by dot products of 4 bytes.
    Dp4a,
}

impl Arith {
    /// Bits of an integer activation.
    pub fn bits(self) -> Option<u32> {
        match self {
            Arith::Float => None,
            Arith::Shift { bits } => Some(bits),
            Arith::Dp4a => Some(8),
        }
    }
}

impl Arith {
    /// Whether `model` can be computed like this at all.
    ///
    /// # Errors
    /// [`Error::Usage`] for a full-precision network by integers, [`Error::Setting`] for integers of neither 8 nor 16 bits.
    pub fn check(self, model: &Model) -> Result<()> {
        if let Some(bits) = self.bits().filter(|bits| ![8, 16].contains(bits)) {
            return Err(Error::setting("the bits of activations", bits, "8 or 16"));
        }
        match self.bits().is_some() && !model.method.is_discrete() {
            true => {
                Err(Error::Usage("a full-precision network computes with f32 only: use --arith float".into()))
            }
            false => Ok(()),
        }
    }
}

/// Fails for a batch of no images, and for one whose tensors have more elements than kernels count.
fn check_batch(graph: &Graph, batch: usize) -> Result<()> {
    let largest = graph.nodes.iter().map(|node| node.shape.iter().product::<usize>()).max().unwrap_or(1);
    let fits = batch > 0 && largest.checked_mul(batch).is_some_and(|len| u32::try_from(len).is_ok());
    match fits {
        true => Ok(()),
        false => {
            let most = u32::MAX as usize / largest.max(1);
            Err(Error::setting("--batch-size", batch, format!("1 to {most} for this network")))
        }
    }
}

/// What a model is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Images of a batch: what the buffers hold.
    pub batch: usize,
    /// What convolutions of the weight family compute with; the others are f32.
    pub arith: Arith,
    /// Keep discrete weights as f32 where they could be codes.
    pub unpacked: bool,
    /// Of the adapter that will run it.
    pub capabilities: Capabilities,
}

/// A model with its plan, whose only list is [`List::Evaluate`].
#[derive(Clone, Debug)]
pub struct Inference {
    /// What engines execute.
    pub plan: Arc<Plan>,
    /// What it was compiled for.
    pub options: Options,
    /// What the host writes and reads.
    pub io: Io,
    /// (batch, classes).
    pub logits: View,
    /// What is written once: weights, scales and biases.
    pub tables: Vec<(View, Vec<u32>)>,
    /// The layers that can be integers: name, number of the dispatch that writes it, and what it writes.
    pub activations: Vec<(String, usize, View)>,
    /// The variants that run, by problem.
    pub chosen: Chosen,
}

impl Inference {
    /// Plans `model`.
    ///
    /// # Errors
    /// [`Error::Arithmetic`] where a layer cannot be computed with the integers that `options` asks for, [`Error::Usage`] where
    /// the model was not calibrated for them.
    pub fn compile(model: &Model, options: Options, choices: &Choices) -> Result<Inference> {
        options.arith.check(model)?;
        let graph = model.graph()?;
        let mut plan = Plan::default();
        let n = options.batch;
        check_batch(&graph, n)?;
        let [h, w] = graph.image();
        let io = Io::new(&mut plan, n, [h, w]);
        let unused = plan.buffer("unused", &[UNUSED], Elem::F32, Role::State);
        let values = vec![Value::default(); graph.nodes.len()];
        let mut compiler = Compiler {
            plan,
            graph: &graph,
            model,
            options,
            choices,
            unused,
            values,
            tables: vec![(io.step, vec![0; Step::LEN])],
            activations: vec![],
        };
        for unit in fuse::units(&graph)? {
            match unit {
                Unit::Norm(norm) => compiler.conv(&norm)?,
                Unit::Layer(i) => compiler.layer(i, &io)?,
            }
        }
        let logits = compiler.float(graph.nodes.len() - 1)?;
        let classes = graph.classes();
        let dlogits = compiler.plan.scratch("dlogits", &[n, classes]);
        let loss =
            softmax_cross_entropy::dispatch("loss", [n, classes], n, None, logits, io.loss(), dlogits)?;
        let Compiler { mut plan, tables, activations, .. } = compiler;
        plan.push(List::Evaluate, loss);
        let chosen = choose::chosen(plan.list(List::Evaluate));
        Ok(Inference { plan: Arc::new(plan), options, io, logits, tables, activations, chosen })
    }

    /// Bytes of the weights of all convolutions, with their scales and biases.
    pub fn weight_bytes(&self) -> u64 {
        self.plan.buffers.iter().filter(|b| b.role == Role::Parameter).map(|b| b.bytes()).sum()
    }
}

/// A layer's output in the forms that it has.
#[derive(Clone, Copy, Default)]
struct Value {
    float: Option<View>,
    /// With its exponent.
    integers: Option<(View, i32)>,
}

/// A convolution's weights (R, S, C, K) as a kernel reads them.
enum Weights {
    /// See [`codec::nibbles`].
    Codes(Vec<u32>),
    Floats(Vec<f32>),
}

struct Compiler<'a> {
    plan: Plan,
    graph: &'a Graph,
    model: &'a Model,
    options: Options,
    choices: &'a Choices,
    /// What dispatches bind where they read nothing, as words or as f32.
    unused: View,
    values: Vec<Value>,
    tables: Vec<(View, Vec<u32>)>,
    activations: Vec<(String, usize, View)>,
}

impl Compiler<'_> {
    /// (N, H, W, C) of layer `node`'s output.
    fn shape(&self, node: usize) -> [usize; 4] {
        let [h, w, c] = self.graph.nodes[node].shape;
        [self.options.batch, h, w, c]
    }

    fn name(&self, node: usize) -> &str {
        &self.graph.nodes[node].name
    }

    /// A buffer that is written once.
    fn table(&mut self, name: String, elem: Elem, words: Vec<u32>) -> View {
        let view = self.plan.buffer(name, &[words.len()], elem, Role::Parameter);
        self.tables.push((view, words));
        view
    }

    fn floats(&mut self, name: String, values: &[f32]) -> View {
        self.table(name, Elem::F32, values.iter().map(|v| v.to_bits()).collect())
    }

    /// The output of layer `i` as f32.
    fn float(&self, i: usize) -> Result<View> {
        self.values[i].float.ok_or_else(|| unfit(self.name(i), "a layer behind it needs f32"))
    }

    /// The output of layer `i` as integers of `bits`, which are made of f32 where there are none yet.
    fn integers(&mut self, i: usize, bits: u32) -> Result<(View, i32)> {
        if let Some(integers) = self.values[i].integers {
            return Ok(integers);
        }
        let exponent = self.exponent(i, bits)?;
        let x = self.float(i)?;
        let name = format!("{} integers", self.name(i));
        let len = self.shape(i).iter().product();
        let y = self.plan.buffer(&name, &[conv2d_shift::words(len, bits)], Elem::U32, Role::Scratch);
        let quantize = quantize::dispatch(&name, len, bits, exponent, x, y)?;
        self.plan.push(List::Evaluate, quantize);
        self.values[i].integers = Some((y, exponent));
        Ok((y, exponent))
    }

    fn exponent(&self, i: usize, bits: u32) -> Result<i32> {
        let exponents = self.model.exponents.as_ref().ok_or_else(|| {
            Error::Usage("the model has no ranges of its activations: export it again, with images to calibrate on (--data)".into())
        })?;
        let found = exponents.get(self.name(i));
        Ok(found.ok_or_else(|| unfit(self.name(i), "the model has no range of its values"))?
            [usize::from(bits == 16)])
    }

    /// A convolution with what follows it, as integers where the arithmetic has them and its weights have codes.
    fn conv(&mut self, norm: &Norm) -> Result<()> {
        let graph = self.graph;
        let (node, name) = (&graph.nodes[norm.conv], graph.nodes[norm.conv].name.as_str());
        // `Model::graph` found it.
        let (conv, k) = (&self.model.convs[name], node.shape[2]);
        let shape = Shape {
            relu: norm.relu.into(),
            residual: norm.residual.is_some().into(),
            ..Shape::new(self.shape(node.inputs[0]), k, norm.size, norm.stride)
        };
        let channels = shape.c as usize;
        let weights = Layout::Conv { channels }.pack(&conv.shape, &conv.weight);
        let codes = conv.discrete.then(|| codec::nibbles(&weights, k)).flatten();
        match self.options.arith.bits() {
            Some(bits) if norm.family => {
                let codes = codes
                    .ok_or_else(|| unfit(name, "its weights leave the range of an i8: 0, ±1, ±2 ... ±64"))?;
                let run = conv2d_shift::run(&weights, k);
                self.integer_conv(norm, conv, shape, (codes, run), bits)
            }
            _ => {
                let codes = codes.filter(|_| !self.options.unpacked);
                self.float_conv(norm, conv, shape, codes.map_or(Weights::Floats(weights), Weights::Codes))
            }
        }
    }

    fn float_conv(&mut self, norm: &Norm, conv: &Conv, shape: Shape, weights: Weights) -> Result<()> {
        let graph = self.graph;
        let name = graph.nodes[norm.conv].name.as_str();
        let x = self.float(graph.nodes[norm.conv].inputs[0])?;
        let residual = norm.residual.map_or(Ok(self.unused), |i| self.float(i))?;
        let affine = self.floats(format!("{name}.affine"), &[&conv.scale[..], &conv.bias].concat());
        let tensors = conv2d_folded::Tensors { affine, residual };
        let y = self.plan.scratch(self.name(norm.output).to_string(), &self.shape(norm.output));
        let kernel = match weights {
            Weights::Codes(_) => &conv2d_packed::KERNEL,
            Weights::Floats(_) => &conv2d_folded::KERNEL,
        };
        let capabilities = &self.options.capabilities;
        let variant = self.choices.variant(kernel, &shape, capabilities);
        let shape = shape.cut(variant, capabilities.invocations(), false);
        let dispatch = match weights {
            Weights::Codes(codes) => {
                let w = self.table(format!("{name}.codes"), Elem::U32, codes);
                conv2d_packed::dispatch(name, shape, [x, w], tensors, y)?
            }
            Weights::Floats(weights) => {
                let w = self.floats(format!("{name}.weight"), &weights);
                conv2d_folded::dispatch(name, shape, [x, w], tensors, y)?
            }
        };
        self.push_activation(norm.output, with_variant(dispatch, variant), y);
        self.values[norm.output].float = Some(y);
        Ok(())
    }

    /// Remembers where the output of layer `i` is made.
    fn push_activation(&mut self, i: usize, dispatch: crate::plan::Dispatch, y: View) {
        let at = self.plan.list(List::Evaluate).len();
        self.activations.push((self.name(i).to_string(), at, y));
        self.plan.push(List::Evaluate, dispatch);
    }

    fn integer_conv(
        &mut self,
        norm: &Norm,
        conv: &Conv,
        shape: Shape,
        (codes, run): (Vec<u32>, u32),
        bits: u32,
    ) -> Result<()> {
        let graph = self.graph;
        let name = graph.nodes[norm.conv].name.as_str();
        let (x, from) = self.integers(graph.nodes[norm.conv].inputs[0], bits)?;
        let residual = norm.residual.map(|i| self.integers(i, bits)).transpose()?;
        let exponent = self.exponent(norm.output, bits)?;
        let exponents = Exponents { x: from, y: exponent, residual: residual.map(|(_, e)| e) };
        let requantization = requantize::requantize(name, conv, bits, exponents)?;
        let Requantization { raise, shift, align, table } = requantization;
        let params = conv2d_shift::Params::new(&shape, bits, [raise, shift, align], run);
        let requant = self.table(format!("{name}.requant"), Elem::U32, table);
        let w = self.table(format!("{name}.codes"), Elem::U32, codes);
        let tensors =
            conv2d_shift::Tensors { requant, residual: residual.map_or(self.unused, |(view, _)| view) };
        let words = conv2d_shift::words(params.outputs(), bits);
        let y = self.plan.buffer(self.name(norm.output).to_string(), &[words], Elem::U32, Role::Scratch);
        let (kernel, dispatch) = match self.options.arith {
            Arith::Dp4a => (&conv2d_dot::KERNEL, conv2d_dot::dispatch(name, params, [x, w], tensors, y)?),
            _ => (&conv2d_shift::KERNEL, conv2d_shift::dispatch(name, params, [x, w], tensors, y)?),
        };
        let variant = self.choices.variant(kernel, &shape, &self.options.capabilities);
        self.push_activation(norm.output, with_variant(dispatch, variant), y);
        self.values[norm.output].integers = Some((y, exponent));
        Ok(())
    }

    fn layer(&mut self, i: usize, io: &Io) -> Result<()> {
        let graph = self.graph;
        let node = &graph.nodes[i];
        let name = node.name.as_str();
        let input = node.inputs.first().copied().unwrap_or(i);
        let from = self.shape(input);
        let integers = self.values[input].integers;
        if let Op::Conv { .. } = node.op {
            // In the dispatch of the batch norm behind it.
            return Ok(());
        }
        if let (Op::ShortcutA { k }, Some(bits)) = (node.op, self.options.arith.bits()) {
            return self.integer_shortcut(i, input, (k, bits));
        }
        let y = self.plan.scratch(name, &self.shape(i));
        let dispatch = match (node.op, integers, self.options.arith.bits()) {
            (Op::GlobalAvgPool, Some((x, exponent)), Some(bits)) => {
                if (from[1] * from[2]) as u64 >= 1 << (32 - bits) {
                    return Err(unfit(name, format!("a sum of {bits}-bit activations leaves an i32")));
                }
                global_avg_pool_integer::dispatch(name, from, bits, exponent, x, y)?
            }
            (Op::GlobalAvgPool, ..) => {
                global_avg_pool::dispatch(name, global_avg_pool::Params::new(from), self.float(input)?, y)?
            }
            (Op::Input, ..) => {
                let crate::data::Input { mean, std, .. } = self.model.input;
                let [n, h, w, _] = self.shape(i);
                augment::dispatch(name, [n, h, w], mean, std, io.step, io.images, y)?
            }
            (Op::ShortcutA { k }, ..) => {
                shortcut_a::dispatch(name, shortcut_a::Params::new(from, k), self.float(input)?, y)?
            }
            (Op::MaxPool, ..) => {
                let shape = self.shape(i);
                let winner = self.plan.buffer(format!("{name}.winner"), &shape, Elem::U32, Role::Scratch);
                max_pool::dispatch(name, max_pool::Params::new(from), self.float(input)?, y, winner)?
            }
            (Op::Linear { k }, ..) => {
                let [w, b] = self.model.fc.clone();
                let tensors =
                    [self.floats(format!("{name}.weight"), &w), self.floats(format!("{name}.bias"), &b)];
                linear::dispatch(
                    name,
                    linear::Params::new(from[0], from[3], k),
                    self.float(input)?,
                    tensors,
                    y,
                )?
            }
            (op @ (Op::Conv { .. } | Op::BatchNorm | Op::Relu | Op::Add), ..) => {
                return Err(Error::Usage(format!("layer {name} ({op:?}) has no kernel of its own")));
            }
        };
        match node.op {
            // What comes before the first integers.
            Op::MaxPool => self.push_activation(i, dispatch, y),
            _ => self.plan.push(List::Evaluate, dispatch),
        }
        self.values[i].float = Some(y);
        Ok(())
    }

    /// Shortcut A to `k` channels on integers of `bits`.
    fn integer_shortcut(&mut self, i: usize, input: usize, (k, bits): (usize, u32)) -> Result<()> {
        let name = self.graph.nodes[i].name.as_str();
        let (x, exponent) = self.integers(input, bits)?;
        let words = conv2d_shift::words(self.shape(i).iter().product(), bits);
        let y = self.plan.buffer(name, &[words], Elem::U32, Role::Scratch);
        let params = shortcut_a_integer::Params::new(self.shape(input), k, bits);
        self.plan.push(List::Evaluate, shortcut_a_integer::dispatch(name, params, x, y)?);
        self.values[i].integers = Some((y, exponent));
        Ok(())
    }
}
