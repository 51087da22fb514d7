//! A network's parameters: where they lie in the plan's buffers, and their names, shapes and layouts on disk.
//!
//! All full-precision parameters lie in flat buffers (values, momenta, gradients), and so do the weights of
//! the family: one plane of discrete weights and one of their gradients, the latents and their momenta as
//! planes of ranges of weights. One update dispatch then serves a whole buffer. Buffers are cut where they
//! would pass the adapter's largest binding.

use super::graph::{Graph, Node, Op};
use super::latents::{FamilyLayer, LAST_FLIP, Places};
use crate::kernels::latent_update;
use crate::method::{Family, InitName};
use crate::plan::{Elem, Plan, Role, View, align};
use crate::rng::{Draws, Stream};
use std::collections::HashMap;

/// How a tensor's elements are ordered in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As on disk.
    Flat,
    /// On disk (K, C, R, S), in the buffer (R, S, C, K) with C padded by zeros to this many.
    Conv { channels: usize },
}

impl Layout {
    /// For each element in the buffer's order: its place on disk in a tensor of `shape`, or `None` for padding.
    fn order(self, shape: &[usize]) -> Vec<Option<usize>> {
        match (self, shape) {
            (Layout::Conv { channels }, &[k_len, c_len, r_len, s_len]) => {
                let mut order = Vec::with_capacity(r_len * s_len * channels * k_len);
                for tap in 0..r_len * s_len {
                    for c in 0..channels {
                        order.extend(
                            (0..k_len).map(|k| (c < c_len).then_some((k * c_len + c) * r_len * s_len + tap)),
                        );
                    }
                }
                order
            }
            _ => (0..shape.iter().product()).map(Some).collect(),
        }
    }

    /// A tensor of `shape` from the order on disk to the buffer's.
    pub fn pack(self, shape: &[usize], disk: &[f32]) -> Vec<f32> {
        self.order(shape).into_iter().map(|from| from.map_or(0.0, |from| disk[from])).collect()
    }
}

/// How a tensor begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    Constant(f32),
    /// N(0, sigma).
    Normal(f32),
    /// U(-bound, bound).
    Uniform(f32),
    /// Latent `plane` of the weight family, for He's `sigma`.
    Latent {
        plane: usize,
        sigma: f32,
    },
}

/// A tensor of a checkpoint.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// torchvision's name.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// The order of its elements in buffers.
    pub layout: Layout,
    /// How it begins.
    pub initial: Initial,
    /// Its place: pieces that follow each other, in the buffer's order.
    pub place: Vec<View>,
    /// Its momentum's place; none for running statistics.
    pub momentum: Option<Vec<View>>,
}

impl Tensor {
    /// Elements on disk.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From the order on disk to the buffer's.
    pub fn pack(&self, disk: &[f32]) -> Vec<f32> {
        self.layout.pack(&self.shape, disk)
    }

    /// From the buffer's order to that on disk.
    pub fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        let mut disk = vec![0.0; self.len()];
        for (&value, to) in packed.iter().zip(self.layout.order(&self.shape)) {
            if let Some(to) = to {
                disk[to] = value;
            }
        }
        disk
    }

    /// The initial values, in the order on disk; `scale` multiplies the sigma of latents. `number` tells the tensors of a
    /// network apart.
    pub fn initial_values(
        &self,
        family: &dyn Family,
        (init, scale): (InitName, f32),
        seed: u64,
        number: u32,
    ) -> Vec<f32> {
        let mut draws = Draws::new(seed, Stream::Init, number, 0);
        let mut value = || match self.initial {
            Initial::Constant(value) => value,
            Initial::Normal(sigma) => sigma * draws.normal(),
            Initial::Uniform(bound) => draws.range(-bound, bound),
            Initial::Latent { plane, sigma } => family.initial(plane, init, scale * sigma, &mut draws),
        };
        (0..self.len()).map(|_| value()).collect()
    }
}

/// Full-precision parameters that are updated by one dispatch.
#[derive(Clone, Copy, Debug)]
pub struct Bank {
    /// All of one length, with each tensor at the same offset.
    pub values: View,
    pub momenta: View,
    pub gradients: View,
}

/// Where the parameters of a network lie.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// What a checkpoint holds, in the network's order.
    pub tensors: Vec<Tensor>,
    /// None without training.
    pub banks: Vec<Bank>,
    /// Ranges of the family's weights that are updated by one dispatch each.
    pub ranges: Vec<latent_update::Tensors>,
    /// The layers of the weight family, in the network's order.
    pub family_layers: Vec<FamilyLayer>,
    /// (family layers, [`latent_update::COUNTERS`]): what changed, counted by the update.
    pub changes: Option<View>,
    /// Value and gradient of each learned tensor that a kernel reads, by name; `<conv>.weight` also for
    /// the discrete weights.
    pub(super) learned: HashMap<String, [View; 2]>,
    /// (2, C): running mean and variance of each batch norm, by its name.
    running: HashMap<String, View>,
}

/// A learned tensor before it has a place.
pub(super) struct Spec {
    pub name: String,
    pub shape: Vec<usize>,
    pub layout: Layout,
    pub initial: Initial,
}

impl Spec {
    /// Elements in its buffer.
    pub fn packed_len(&self) -> usize {
        match self.layout {
            Layout::Flat => self.shape.iter().product(),
            Layout::Conv { channels } => self.shape[0] * channels * self.shape[2] * self.shape[3],
        }
    }

    pub fn sigma(&self) -> f32 {
        let fan_out = self.shape[0] * self.shape[2] * self.shape[3];
        (2.0 / fan_out as f32).sqrt()
    }
}

impl Store {
    /// Weights of the network, as PyTorch counts its parameters: the latents of a weight count once.
    pub fn parameters(&self) -> usize {
        let counts = |t: &&Tensor| {
            let counted_elsewhere = matches!(t.initial, Initial::Latent { plane: 1.., .. });
            !t.name.contains("running_") && !t.name.starts_with(LAST_FLIP) && !counted_elsewhere
        };
        self.tensors.iter().filter(counts).map(Tensor::len).sum()
    }

    /// Value and gradient of the learned tensor `name`.
    pub(crate) fn learned(&self, name: &str) -> [View; 2] {
        self.learned[name]
    }

    /// (2, C): running mean and variance of the batch norm `name`.
    pub(crate) fn running(&self, name: &str) -> View {
        self.running[name]
    }

    /// Gives every parameter of `graph` a place in buffers of at most `limit` bytes. With `family`, the
    /// convolutions that belong to it get latents. Without `train` there are neither momenta nor gradients.
    pub fn new(
        plan: &mut Plan,
        graph: &Graph,
        family: Option<&dyn Family>,
        limit: u64,
        train: bool,
    ) -> Store {
        let mut store = Store::default();
        let specs: Vec<(&Node, Vec<Spec>)> =
            graph.nodes.iter().map(|node| (node, specs(graph, node))).collect();
        let in_family = |node: &Node| family.is_some() && matches!(node.op, Op::Conv { family: true, .. });
        let plain = specs.iter().filter(|(node, _)| !in_family(node)).flat_map(|(_, specs)| specs);
        store.place_plain(plan, &plain.collect::<Vec<_>>(), limit, train);
        store.place_running(plan, graph);
        let mut latents = HashMap::<String, Places>::new();
        if let Some(family) = family {
            let weights = specs.iter().filter(|(node, _)| in_family(node)).flat_map(|(_, specs)| specs);
            latents = store.place_family(plan, &weights.collect::<Vec<_>>(), family, limit);
        }
        for (node, specs) in specs {
            store.list(node, specs, (family, &mut latents), train);
        }
        store
    }

    fn place_plain(&mut self, plan: &mut Plan, specs: &[&Spec], limit: u64, train: bool) {
        for (number, group) in cut(specs, limit / 4, Spec::packed_len).into_iter().enumerate() {
            let len = group.iter().map(|spec| align(spec.packed_len())).sum();
            let mut buffer =
                |name: &str, role| plan.buffer(format!("{name}.{number}"), &[len], Elem::F32, role);
            let values = buffer("parameters", Role::Parameter);
            let (momenta, gradients) = match train {
                true => (buffer("momenta", Role::State), buffer("gradients", Role::Gradient)),
                false => (values, values),
            };
            if train {
                self.banks.push(Bank { values, momenta, gradients });
            }
            let mut offset = 0;
            for spec in group {
                let part = |view: View| view.slice(offset, spec.packed_len());
                self.learned.insert(spec.name.clone(), [part(values), part(gradients)]);
                offset += align(spec.packed_len());
            }
        }
    }

    fn place_running(&mut self, plan: &mut Plan, graph: &Graph) {
        let norms: Vec<_> = graph.nodes.iter().filter(|node| node.op == Op::BatchNorm).collect();
        let len: usize = norms.iter().map(|node| align(2 * node.shape[2])).sum();
        let buffer = plan.buffer("running_stats", &[len], Elem::F32, Role::State);
        let mut offset = 0;
        for node in norms {
            self.running.insert(node.name.clone(), buffer.slice(offset, 2 * node.shape[2]));
            offset += align(2 * node.shape[2]);
        }
    }

    /// Adds a layer's tensors to the list, in PyTorch's order.
    fn list(
        &mut self,
        node: &Node,
        specs: Vec<Spec>,
        (family, latents): (Option<&dyn Family>, &mut HashMap<String, Places>),
        train: bool,
    ) {
        for spec in specs {
            if let (Some(family), Some(places)) = (family, latents.remove(&spec.name)) {
                self.list_latents(&node.name, &spec, family, places);
                continue;
            }
            let [value, _] = self.learned[&spec.name];
            let bank = self.banks.iter().find(|bank| train && bank.values.buffer == value.buffer);
            let momentum = bank.map(|bank| vec![bank.momenta.slice(value.offset, value.len)]);
            let Spec { name, shape, layout, initial } = spec;
            self.tensors.push(Tensor { name, shape, layout, initial, place: vec![value], momentum });
        }
        if node.op == Op::BatchNorm {
            let c = node.shape[2];
            let running = self.running[&node.name];
            for (i, (what, value)) in [("mean", 0.0), ("var", 1.0)].into_iter().enumerate() {
                self.tensors.push(Tensor {
                    name: format!("{}.running_{what}", node.name),
                    shape: vec![c],
                    layout: Layout::Flat,
                    initial: Initial::Constant(value),
                    place: vec![running.slice(i * c, c)],
                    momentum: None,
                });
            }
        }
    }
}

/// The learned tensors of a layer, in PyTorch's order.
fn specs(graph: &Graph, node: &Node) -> Vec<Spec> {
    let spec = |suffix: &str, shape: &[usize], layout, initial| Spec {
        name: format!("{}.{suffix}", node.name),
        shape: shape.to_vec(),
        layout,
        initial,
    };
    if let Some(shape @ [k, _, r, s]) = graph.weight_shape(node) {
        let sigma = (2.0 / (k * r * s) as f32).sqrt();
        let layout = Layout::Conv { channels: graph.nodes[node.inputs[0]].shape[2] };
        return vec![spec("weight", &shape, layout, Initial::Normal(sigma))];
    }
    match node.op {
        Op::BatchNorm => {
            let c = node.shape[2];
            vec![
                spec("weight", &[c], Layout::Flat, Initial::Constant(1.0)),
                spec("bias", &[c], Layout::Flat, Initial::Constant(0.0)),
            ]
        }
        Op::Linear { k } => {
            let c = graph.nodes[node.inputs[0]].shape[2];
            let uniform = Initial::Uniform(1.0 / (c as f32).sqrt());
            vec![spec("weight", &[k, c], Layout::Flat, uniform), spec("bias", &[k], Layout::Flat, uniform)]
        }
        _ => vec![],
    }
}

/// Cuts `items` into runs of at most `most` elements, an item alone where it is larger.
pub(super) fn cut<'a, T>(items: &[&'a T], most: u64, len: impl Fn(&T) -> usize) -> Vec<Vec<&'a T>> {
    let mut groups: Vec<Vec<&T>> = Vec::new();
    let mut size = 0;
    for &item in items {
        let item_len = align(len(item)) as u64;
        match groups.last_mut() {
            Some(group) if size + item_len <= most => {
                group.push(item);
                size += item_len;
            }
            _ => {
                groups.push(vec![item]);
                size = item_len;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::{Method, MethodName};
    use crate::model::{Arch, Shortcut};

    proptest::proptest! {
        /// Packing puts every element somewhere, and unpacking finds it.
        #[test]
        fn layouts_come_back(k in 1usize..9, c in 1usize..9, size in 1usize..4, more in 0usize..4) {
            let shape = vec![k, c, size, size];
            let layout = Layout::Conv { channels: c + more };
            let initial = Initial::Constant(0.0);
            let tensor = Tensor { name: String::new(), shape, layout, initial, place: vec![], momentum: None };
            let disk: Vec<f32> = (1..=tensor.len()).map(|i| i as f32).collect();
            let packed = tensor.pack(&disk);
            proptest::prop_assert_eq!(packed.len(), size * size * (c + more) * k);
            proptest::prop_assert_eq!(tensor.unpack(&packed), disk);
        }
    }

    /// Element (k, c, r, s) of PyTorch lies at (r, s, c, k).
    #[test]
    fn convolutions_by_hand() {
        let layout = Layout::Conv { channels: 4 };
        let initial = Initial::Constant(0.0);
        let tensor = Tensor {
            name: String::new(),
            shape: vec![2, 3, 1, 2],
            layout,
            initial,
            place: vec![],
            momentum: None,
        };
        let disk: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(tensor.pack(&disk)[..8], [0.0, 6.0, 2.0, 8.0, 4.0, 10.0, 0.0, 0.0]);
    }

    /// With a small limit, no buffer passes it, and the pieces of every tensor still add up.
    #[test]
    fn buffers_are_cut_at_the_limit() {
        let graph =
            "resnet20".parse::<Arch>().expect("known").build(Shortcut::B, [32, 32], 10).expect("legal");
        let family = Method::new(MethodName::S3, 5).expect("legal").family();
        let limit = 1 << 20;
        let mut plan = Plan::default();
        let store = Store::new(&mut plan, &graph, Some(family.as_ref()), limit, true);
        assert!(store.ranges.len() > 10, "{} ranges", store.ranges.len());
        for buffer in &plan.buffers {
            assert!(buffer.bytes() <= limit, "{} has {} bytes", buffer.name, buffer.bytes());
        }
        for tensor in &store.tensors {
            let placed: usize = tensor.place.iter().map(|view| view.len).sum();
            let padded = if tensor.name == "conv1.weight" { tensor.len() / 3 * 4 } else { tensor.len() };
            assert_eq!(placed, padded, "{}", tensor.name);
        }
        let numbers: Vec<u32> =
            (0..store.ranges.len()).flat_map(|range| store.layer_numbers(range)).collect();
        assert!(numbers.is_sorted() && numbers.last() == Some(&(store.family_layers.len() as u32 - 1)));
    }
}
