//! The backward pass of a plan: from the gradient of the logits to those of all parameters.

use super::compile::{Compiler, Output, Outputs, output};
use super::fuse::{Norm, Unit};
use super::graph::Op;
use crate::error::Result;
use crate::kernels::sum_partials::Part;
use crate::kernels::*;
use crate::plan::{AdapterKind, Elem, List, Role, View, align};

/// The gradients of each layer's output that have been computed: their sum is its gradient.
type Gradients = Vec<Vec<View>>;

/// Where the partial sums of some layers' weight gradients lie, which are added up by one dispatch.
struct Bank {
    /// The part of a buffer of gradients that they are for.
    gradients: View,
    partial: View,
    /// The layers, in the order of the forward pass, and their parts.
    layers: Vec<usize>,
    parts: Vec<Part>,
}

impl Compiler<'_> {
    /// dlogits to the gradients of all parameters.
    pub(super) fn backward(&mut self, units: &[Unit], outputs: &Outputs, dlogits: View) -> Result<()> {
        let mut gradients: Gradients = vec![Vec::new(); self.graph.nodes.len()];
        gradients[self.graph.nodes.len() - 1].push(dlogits);
        let mut banks = self.weight_gradients(units);
        for unit in units.iter().rev() {
            match *unit {
                Unit::Layer(i) => self.backward_layer(i, outputs, &mut gradients, banks.last())?,
                Unit::Norm(norm) => self.backward_norm(&norm, outputs, &mut gradients)?,
            }
            // A bank whose parts are all there is added up, so that the next one may lie in its place.
            if let Some(bank) =
                banks.pop_if(|bank| matches!(*unit, Unit::Layer(i) if bank.layers.first() == Some(&i)))
            {
                self.add_up(banks.len(), bank)?;
            }
        }
        Ok(())
    }

    fn add_up(&mut self, number: usize, bank: Bank) -> Result<()> {
        let rows = sum_partials::table(bank.gradients.len, &bank.parts);
        let name = format!("partials.{number}.table");
        let table = self.plan.buffer(name, &[rows.len() / 4, 4], Elem::U32, Role::State);
        // On CPU cores there is nobody to share with, and a barrier costs more than the sums.
        let share = if self.options.capabilities.kind.on_cores() { 1 } else { 4 };
        let sum = sum_partials::dispatch("weights", table, bank.partial, bank.gradients, share)?;
        self.plan.push(List::Backward, sum);
        self.tables.push((table, rows));
        Ok(())
    }

    /// Cuts every convolution's weight gradient into parts, and gives these a place: in banks of layers that follow each other,
    /// in the order of the forward pass.
    fn weight_gradients(&mut self, units: &[Unit]) -> Vec<Bank> {
        const MOST_BYTES: u64 = 128 << 20;
        let most = MOST_BYTES.min(self.options.capabilities.max_binding) as usize / 4;
        let mut banks: Vec<Bank> = Vec::new();
        let mut sizes = Vec::new();
        for unit in units {
            let &Unit::Layer(i) = unit else { continue };
            if !matches!(self.graph.nodes[i].op, Op::Conv { .. }) {
                continue;
            }
            let (gradient, len) = (self.weight(i)[1], self.conv(i, false).w_len());
            let splits = self.splits(i).min(most / len).max(1);
            let size = align(len * splits);
            let fits = |(bank, taken): (&Bank, &usize)| {
                bank.gradients.buffer == gradient.buffer
                    && bank.gradients.offset <= gradient.offset
                    && taken + size <= most
            };
            if !banks.last().zip(sizes.last()).is_some_and(fits) {
                let gradients = View { len: 0, ..gradient };
                banks.push(Bank { gradients, partial: gradient, layers: vec![], parts: vec![] });
                sizes.push(0);
            }
            let (bank, taken) = banks.last_mut().zip(sizes.last_mut()).expect("there is one now");
            let to = gradient.offset - bank.gradients.offset;
            bank.gradients.len = bank.gradients.len.max(to + gradient.len);
            bank.layers.push(i);
            bank.parts.push(Part { to, len, offset: *taken, splits });
            *taken += size;
        }
        for (number, (bank, size)) in banks.iter_mut().zip(sizes).enumerate() {
            bank.partial = self.plan.scratch(format!("partials.{number}"), &[size]);
        }
        banks
    }

    /// The parts of convolution `i`'s weight gradient: as many as fill the adapter.
    fn splits(&self, i: usize) -> usize {
        let conv = self.conv(i, false);
        let capabilities = &self.options.capabilities;
        match capabilities.kind {
            AdapterKind::Host => conv2d_weight_grad::runs(&conv, conv2d_weight_grad::parts_for_cores(&conv)),
            _ => {
                let variant = self.variant(&conv2d_weight_grad::KERNEL, &conv);
                conv2d_weight_grad::splits(&conv, variant, capabilities.invocations())
            }
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
        bank: Option<&Bank>,
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
            Op::Conv { .. } => self.backward_conv(i, x, dy, dx, bank)?,
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
        bank: Option<&Bank>,
    ) -> Result<()> {
        let name = self.graph.nodes[i].name.as_str();
        let mut conv = self.conv(i, false);
        if let Some(dx) = dx {
            let [w, _] = self.weight(i);
            let dispatch = conv2d_input_grad::dispatch(name, conv, dy, w, dx)?;
            let variant = self.variant(&conv2d_input_grad::KERNEL, &conv);
            self.plan.push(List::Backward, with_variant(dispatch, variant));
        }
        let of_layer =
            |bank: &Bank| Some((bank.partial, bank.parts[bank.layers.iter().position(|&l| l == i)?]));
        let (partial, part) = bank.and_then(of_layer).expect("every convolution is in a bank, in order");
        let Part { len, offset, splits, .. } = part;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Hyper;
    use crate::method::Method;
    use crate::model::compile::{Network, Options};
    use crate::model::{Arch, Shortcut};
    use crate::plan::{Capabilities, lifetimes};

    /// However many weights there are, each gradient is cut for the whole adapter, and the parts' memory is bounded.
    #[test]
    fn large_networks_fill_the_adapter_too() {
        for (kind, invocations) in [(AdapterKind::Discrete, 16_384), (AdapterKind::Host, 512)] {
            let capabilities = Capabilities { kind, max_binding: 1 << 31, subgroups: true };
            let options = Options {
                method: Method::FP32,
                micro_batch: 8,
                batch: 8,
                hyper: Hyper { momentum: 0.9, weight_decay: 1e-4, alpha: 0.0 },
                label_smoothing: 0.0,
                mean: [0.5; 3],
                std: [0.25; 3],
                capabilities,
                train: true,
            };
            let arch: Arch = "resnet50".parse().expect("known");
            let graph = arch.build(Shortcut::B, [224; 2], 1000).expect("legal");
            let plan = Network::compile(graph, options).expect("it fits").plan;
            assert_eq!(capabilities.invocations(), invocations);
            let sums = plan.list(List::Backward).iter().filter(|d| d.stem == "sum_partials").count();
            let banks: Vec<usize> = (0..plan.buffers.len())
                .filter(|&i| {
                    plan.buffers[i].name.starts_with("partials.") && plan.buffers[i].role == Role::Scratch
                })
                .collect();
            assert!(banks.len() == sums && sums > 2, "{sums} banks");
            assert!(banks.iter().all(|&i| plan.buffers[i].bytes() <= 128 << 20));
            // They lie in each other's places.
            let slots = lifetimes::assign(&plan);
            let mut places: Vec<usize> = banks.iter().map(|&i| slots.of_buffer[i]).collect();
            places.sort_unstable();
            places.dedup();
            assert!(
                places.len() <= banks.len().div_ceil(2),
                "{} banks in {} places",
                banks.len(),
                places.len()
            );
            let convolutions: Vec<_> =
                plan.list(List::Backward).iter().filter(|d| d.stem == "conv2d_weight_grad").collect();
            assert_eq!(convolutions.len(), 53);
            for dispatch in convolutions {
                let conv = conv2d_weight_grad::Params::of(&dispatch.params);
                let (splits, tasks) = (conv.splits as usize, conv2d_weight_grad::tasks_of_part(&conv));
                let enough = match kind {
                    AdapterKind::Host => splits * tasks >= 16,
                    _ => dispatch.groups.iter().product::<u32>() >= 128,
                };
                assert!(
                    enough,
                    "{}: {splits} parts of {tasks} tasks, {:?} groups",
                    dispatch.label, dispatch.groups
                );
            }
        }
    }
}
