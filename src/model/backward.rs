//! The backward pass of a plan: from the gradient of the logits to those of all parameters.

use super::compile::{Compiler, Output, Outputs, output};
use super::fuse::{Norm, Unit};
use super::graph::Op;
use crate::error::Result;
use crate::kernels::sum_partials::Part;
use crate::kernels::*;
use crate::plan::{AdapterKind, BufferId, Elem, List, Role, View, align};
use std::collections::BTreeMap;

/// The gradients of each layer's output that have been computed: their sum is its gradient.
type Gradients = Vec<Vec<View>>;

/// Where the partial sums of the weight gradients lie that go to one buffer.
struct Bank {
    /// The whole buffer of gradients.
    gradients: View,
    partial: View,
    parts: Vec<Part>,
}

/// The partial sums of each convolution, by layer: the number of its bank and of its part in it.
struct WeightGradients {
    banks: Vec<Bank>,
    of_layer: BTreeMap<usize, (usize, usize)>,
}

impl Compiler<'_> {
    /// dlogits to the gradients of all parameters.
    pub(super) fn backward(&mut self, units: &[Unit], outputs: &Outputs, dlogits: View) -> Result<()> {
        let mut gradients: Gradients = vec![Vec::new(); self.graph.nodes.len()];
        gradients[self.graph.nodes.len() - 1].push(dlogits);
        let weights = self.weight_gradients(units);
        for unit in units.iter().rev() {
            match *unit {
                Unit::Layer(i) => self.backward_layer(i, outputs, &mut gradients, &weights)?,
                Unit::Norm(norm) => self.backward_norm(&norm, outputs, &mut gradients)?,
            }
        }
        for (number, bank) in weights.banks.into_iter().enumerate() {
            let rows = sum_partials::table(bank.gradients.len, &bank.parts);
            let name = format!("partials.{number}.table");
            let table = self.plan.buffer(name, &[rows.len() / 4, 4], Elem::U32, Role::State);
            let sum = sum_partials::dispatch("weights", table, bank.partial, bank.gradients)?;
            self.plan.push(List::Backward, sum);
            self.tables.push((table, rows));
        }
        Ok(())
    }

    /// Cuts every convolution's weight gradient into parts, and gives these a place.
    fn weight_gradients(&mut self, units: &[Unit]) -> WeightGradients {
        let is_conv = |i: &usize| matches!(self.graph.nodes[*i].op, Op::Conv { .. });
        let layers = units.iter().filter_map(|unit| match unit {
            Unit::Layer(i) => Some(*i).filter(is_conv),
            Unit::Norm(_) => None,
        });
        let mut by_buffer: BTreeMap<BufferId, Vec<usize>> = BTreeMap::new();
        for i in layers {
            by_buffer.entry(self.weight(i)[1].buffer).or_default().push(i);
        }
        let mut weights = WeightGradients { banks: vec![], of_layer: BTreeMap::new() };
        for (number, (buffer, layers)) in by_buffer.into_iter().enumerate() {
            let (parts, len) = self.cut(&layers);
            weights.of_layer.extend(layers.into_iter().enumerate().map(|(at, i)| (i, (number, at))));
            let gradients = View { buffer, offset: 0, len: self.plan.buffers[buffer.0].len() };
            let partial = self.plan.scratch(format!("partials.{number}"), &[len]);
            weights.banks.push(Bank { gradients, partial, parts });
        }
        weights
    }

    /// The parts of `layers`, whose weight gradients go to one buffer, and the elements that all need together: as many
    /// parts as fill the adapter, as long as they stay small and can be bound at once.
    fn cut(&self, layers: &[usize]) -> (Vec<Part>, usize) {
        const MOST_BYTES: u64 = 128 << 20;
        let most = MOST_BYTES.min(self.options.capabilities.max_binding) as usize / 4;
        let mut invocations = self.options.capabilities.invocations();
        loop {
            let mut offset = 0;
            let part = |&i: &usize| {
                let conv = self.conv(i, false);
                let variant = self.variant(&conv2d_weight_grad::KERNEL, &conv);
                let splits = match self.options.capabilities.kind {
                    // A task each, for all of the weight: enough for 16 cores, and few to add up.
                    AdapterKind::Host => conv2d_weight_grad::runs(&conv, invocations / 32),
                    _ => conv2d_weight_grad::splits(&conv, variant, invocations),
                };
                let part = Part { to: self.weight(i)[1].offset, len: conv.w_len(), offset, splits };
                offset += align(part.len * splits);
                part
            };
            let parts: Vec<Part> = layers.iter().map(part).collect();
            if offset <= most || invocations == 1 {
                return (parts, offset);
            }
            invocations /= 2;
        }
    }

    /// Value and gradient of the weight of convolution `i`.
    fn weight(&self, i: usize) -> [View; 2] {
        self.store.learned(&format!("{}.weight", self.graph.nodes[i].name))
    }

    /// The gradient of layer `i`'s output as one tensor.
    fn gathered(&mut self, gradients: &mut Gradients, i: usize) -> Result<View> {
        self.at_most(gradients, i, 1)?;
        Ok(gradients[i][0])
    }

    /// Adds up gradients of layer `i`'s output until there are no more than `most`.
    fn at_most(&mut self, gradients: &mut Gradients, i: usize, most: usize) -> Result<()> {
        let name = &self.graph.nodes[i].name;
        while gradients[i].len() > most {
            let [a, b] = [0, 1].map(|_| gradients[i].pop().expect("there are more than `most`"));
            let sum = self.plan.scratch(format!("d{name}"), &self.shape(i));
            self.plan.push(List::Backward, add::dispatch(name, a, b, sum)?);
            gradients[i].push(sum);
        }
        Ok(())
    }

    fn backward_layer(
        &mut self,
        i: usize,
        outputs: &Outputs,
        gradients: &mut Gradients,
        weights: &WeightGradients,
    ) -> Result<()> {
        let node = &self.graph.nodes[i];
        if node.op == Op::Input || gradients[i].is_empty() {
            return Ok(());
        }
        let dy = self.gathered(gradients, i)?;
        if node.op == Op::Add {
            node.inputs.iter().for_each(|&input| gradients[input].push(dy));
            return Ok(());
        }
        let input = node.inputs[0];
        let from = self.shape(input);
        let x = output(outputs, input).y;
        // The images need no gradient.
        let dx = (input != 0).then(|| self.plan.scratch(format!("d{}:in", node.name), &from));
        match node.op {
            Op::Conv { .. } => self.backward_conv(i, x, dy, dx, weights)?,
            _ => {
                let dx = dx.expect("only a convolution reads the images");
                self.backward_simple(i, x, output(outputs, i).extra, dy, dx)?;
            }
        }
        gradients[input].extend(dx);
        Ok(())
    }

    /// A layer with one input, other than convolution and batch norm.
    fn backward_simple(&mut self, i: usize, x: View, extra: Option<View>, dy: View, dx: View) -> Result<()> {
        let node = &self.graph.nodes[i];
        let name = node.name.as_str();
        let from = self.shape(node.inputs[0]);
        let dispatch = match (node.op, extra) {
            (Op::Linear { k }, _) => {
                let linear = linear::Params::new(from[0], from[3], k);
                let [[w, dw], [_, db]] =
                    ["weight", "bias"].map(|s| self.store.learned(&format!("{name}.{s}")));
                let weight = linear_weight_grad::dispatch(name, linear, x, dy, [dw, db])?;
                self.plan.push(List::Backward, weight);
                linear_input_grad::dispatch(name, linear, dy, w, dx)?
            }
            (Op::ShortcutA { k }, _) => {
                shortcut_a_backward::dispatch(name, shortcut_a::Params::new(from, k), dy, dx)?
            }
            (Op::MaxPool, Some(winner)) => {
                max_pool_backward::dispatch(name, max_pool::Params::new(from), winner, dy, dx)?
            }
            (Op::GlobalAvgPool, _) => {
                global_avg_pool_backward::dispatch(name, global_avg_pool::Params::new(from), dy, dx)?
            }
            (op, _) => unreachable!("{op:?} is no layer of its own"),
        };
        self.plan.push(List::Backward, dispatch);
        Ok(())
    }

    fn backward_conv(
        &mut self,
        i: usize,
        x: View,
        dy: View,
        dx: Option<View>,
        weights: &WeightGradients,
    ) -> Result<()> {
        let name = self.graph.nodes[i].name.as_str();
        let mut conv = self.conv(i, false);
        if let Some(dx) = dx {
            let [w, _] = self.weight(i);
            let dispatch = conv2d_input_grad::dispatch(name, conv, dy, w, dx)?;
            let variant = self.variant(&conv2d_input_grad::KERNEL, &conv);
            self.plan.push(List::Backward, with_variant(dispatch, variant));
        }
        let (bank, at) = weights.of_layer[&i];
        let Bank { partial, ref parts, .. } = weights.banks[bank];
        let Part { len, offset, splits, .. } = parts[at];
        conv.splits = splits as u32;
        let partial = partial.slice(offset, len * splits);
        let dispatch = conv2d_weight_grad::dispatch(name, conv, x, dy, partial)?;
        let variant = self.variant(&conv2d_weight_grad::KERNEL, &conv);
        self.plan.push(List::Backward, with_variant(dispatch, variant));
        Ok(())
    }

    fn backward_norm(&mut self, norm: &Norm, outputs: &Outputs, gradients: &mut Gradients) -> Result<()> {
        let name = self.graph.nodes[norm.norm].name.as_str();
        let shape = self.norm_shape(norm);
        let invocations = self.options.capabilities.invocations();
        // The last one is overwritten by the gathered gradient. Nobody else needs it any more: what it may share
        // with another layer is of one that comes later, whose backward pass is done.
        self.at_most(gradients, norm.output, 2)?;
        let dy = gradients[norm.output].pop().expect("every batch norm leads to the loss");
        let second = gradients[norm.output].pop();
        let x = output(outputs, norm.conv).y;
        let Output { y, extra } = output(outputs, norm.output);
        let stats = extra.expect("batch norms leave their statistics");
        let [[gamma, dgamma], [_, dbeta]] =
            ["weight", "bias"].map(|s| self.store.learned(&format!("{name}.{s}")));

        let (chunks, _) = batch_norm_backward_reduce::chunks(&shape, invocations);
        let partial = self.plan.scratch(format!("d{name}.sums"), &[chunks, 2, shape.channels]);
        let y = if norm.relu { y } else { self.unused[0] };
        let inputs = [x, stats, y, second.unwrap_or(self.unused[1])];
        let both = second.is_some();
        let reduce =
            batch_norm_backward_reduce::dispatch(name, shape, invocations, inputs, both, dy, partial)?;
        self.plan.push(List::Backward, reduce);
        if let Some(residual) = norm.residual {
            gradients[residual].push(dy);
        }
        let dx = self.plan.scratch(format!("d{name}:in"), &self.shape(norm.norm));
        let inputs = [x, stats, gamma, partial, dy];
        let apply = batch_norm_backward::dispatch(name, shape, invocations, inputs, dx, [dgamma, dbeta])?;
        self.plan.push(List::Backward, apply);
        gradients[norm.conv].push(dx);
        Ok(())
    }
}
