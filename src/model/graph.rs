//! A network as data: layers, their inputs, and the shapes between them.

use crate::error::{Error, Result};
use std::collections::HashSet;

/// What a layer computes. Shapes are inferred from its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The images, 3 channels padded to 4.
    Input,
    /// `size` x `size`, padding size / 2, no bias. `family`: its weight belongs to the weight family of
    /// the method; else it stays full precision.
    Conv { k: usize, size: usize, stride: usize, family: bool },
    /// Of each channel, over batch and pixels; behind a convolution that nothing else reads.
    BatchNorm,
    /// Behind a batch norm, or a sum that one begins.
    Relu,
    /// Sum of two inputs.
    Add,
    /// Stride-2 subsampling to `k` channels, the new ones zero.
    ShortcutA { k: usize },
    /// 3x3, stride 2, padding 1.
    MaxPool,
    /// The mean of each channel.
    GlobalAvgPool,
    /// With bias, to `k` outputs.
    Linear { k: usize },
}

/// A layer: its name as in the checkpoint, and the layers whose outputs it reads.
#[derive(Clone, Debug)]
pub struct Node {
    /// As in the checkpoint: `layer1.0.conv1`. No two layers share one.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The numbers of the layers that it reads, which come before it.
    pub inputs: Vec<usize>,
    /// Height, width and channels of its output.
    pub shape: [usize; 3],
}

/// Layers in the order in which they run.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The images first, the classes last.
    pub nodes: Vec<Node>,
}

/// Channels of an image.
pub const IMAGE_CHANNELS: usize = 3;

/// Channels of an image as the kernels see them.
pub const INPUT_CHANNELS: usize = 4;

impl Graph {
    /// A graph that holds the input of `height` x `width` images.
    pub fn new(height: usize, width: usize) -> Graph {
        let shape = [height, width, INPUT_CHANNELS];
        Graph { nodes: vec![Node { name: "input".into(), op: Op::Input, inputs: vec![], shape }] }
    }

    /// Adds a layer after `input` and returns its number. Whether it can be computed, [`Graph::check`] says.
    pub fn then(&mut self, name: impl Into<String>, op: Op, input: usize) -> usize {
        self.push(name.into(), op, vec![input])
    }

    /// Adds the sum of two layers.
    pub fn add(&mut self, name: impl Into<String>, a: usize, b: usize) -> usize {
        self.push(name.into(), Op::Add, vec![a, b])
    }

    fn push(&mut self, name: String, op: Op, inputs: Vec<usize>) -> usize {
        let shape = self.output(op, inputs[0]);
        self.nodes.push(Node { name, op, inputs, shape });
        self.nodes.len() - 1
    }

    /// Height, width and channels of what `op` makes of layer `input`, where that exists and can be: [`Graph::check`] refuses the
    /// others.
    fn output(&self, op: Op, input: usize) -> [usize; 3] {
        let [h, w, c] = self.nodes.get(input).map_or([0; 3], |node| node.shape);
        match op {
            Op::Conv { k, size, stride, .. } => {
                let out = |x: usize| {
                    let steps = (x + 2 * (size / 2)).checked_sub(size)?.checked_div(stride)?;
                    Some(steps + 1)
                };
                [out(h).unwrap_or(0), out(w).unwrap_or(0), k]
            }
            Op::ShortcutA { k } => [h.div_ceil(2), w.div_ceil(2), k],
            Op::MaxPool => [h.div_ceil(2), w.div_ceil(2), c],
            Op::GlobalAvgPool => [1, 1, c],
            Op::Linear { k } => [1, 1, k],
            Op::Input | Op::BatchNorm | Op::Relu | Op::Add => [h, w, c],
        }
    }

    /// That kernels can compute every layer, and that all of them lead to the last, whose output is one number a class.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the layer.
    pub fn check(&self) -> Result<()> {
        let mut names = HashSet::new();
        for (i, node) in self.nodes.iter().enumerate() {
            let problem = match names.insert(node.name.as_str()) {
                true => self.problem(i),
                false => Some("has the name of another layer".into()),
            };
            if let Some(problem) = problem {
                return Err(Error::Usage(format!("layer {} ({:?}) {problem}", node.name, node.op)));
            }
        }
        for (i, node) in self.nodes.iter().enumerate().rev().skip(1) {
            if !self.nodes.iter().any(|reader| reader.inputs.contains(&i)) {
                return Err(Error::Usage(format!("layer {} ({:?}) is read by no layer", node.name, node.op)));
            }
        }
        match self.nodes.last() {
            Some(Node { shape: [1, 1, c], op, .. }) if *c > 0 && *op != Op::Input => Ok(()),
            Some(Node { name, shape: [h, w, c], .. }) => Err(Error::Usage(format!(
                "the last layer, {name}, is {h}x{w} of {c} channels, but must be 1x1 of the classes"
            ))),
            None => Err(Error::Usage("the network has no layers".into())),
        }
    }

    /// What is wrong with layer `i`.
    fn problem(&self, i: usize) -> Option<String> {
        let Node { op, inputs, shape, .. } = &self.nodes[i];
        let expected = match op {
            Op::Input => 0,
            Op::Add => 2,
            _ => 1,
        };
        if (*op == Op::Input) != (i == 0) {
            return Some("must be the images, which come first and once".into());
        }
        if inputs.len() != expected || inputs.iter().any(|&input| input >= i) {
            return Some(format!("reads layers {inputs:?}, but must read {expected} of the {i} before it"));
        }
        let Some(&first) = inputs.first() else {
            let [h, w, c] = *shape;
            let fits = h > 0 && w > 0 && c == INPUT_CHANNELS;
            return (!fits).then(|| format!("is {h}x{w} of {c} channels, but must be of {INPUT_CHANNELS}"));
        };
        if *shape != self.output(*op, first) {
            return Some(format!("is {shape:?}, but must be {:?}", self.output(*op, first)));
        }
        let [h, w, c] = self.nodes[first].shape;
        if !c.is_multiple_of(4) {
            return Some(format!("reads {c} channels, which must be a multiple of 4"));
        }
        match *op {
            Op::Conv { k, size, stride, .. }
                if k == 0 || !k.is_multiple_of(4) || size == 0 || stride == 0 =>
            {
                Some("must have k a multiple of 4, and size and stride of at least 1".into())
            }
            Op::Conv { .. } if shape.contains(&0) => {
                Some(format!("is larger than the {h}x{w} that it reads"))
            }
            Op::Conv { .. } => None,
            _ if inputs.contains(&0) => Some("reads the images, which only a convolution does".into()),
            Op::ShortcutA { k } if k < c || !(k - c).is_multiple_of(8) => {
                Some(format!("must have k {c} and a multiple of 8 more, half of it in front and half behind"))
            }
            Op::Linear { k: 0 } => Some("must have at least one output".into()),
            Op::Linear { .. } if [h, w] != [1, 1] => Some(format!("reads {h}x{w} pixels, but must read one")),
            Op::Add if inputs[0] == inputs[1] => Some("must read two layers".into()),
            Op::Add if self.nodes[inputs[1]].shape != *shape => {
                Some(format!("adds {:?} to {shape:?}", self.nodes[inputs[1]].shape))
            }
            _ => None,
        }
    }

    /// (K, C, R, S) of the weights of `node`, one of this graph's, as PyTorch orders them and without the padding of the images'
    /// channels; none where it is no convolution.
    pub fn weight_shape(&self, node: &Node) -> Option<[usize; 4]> {
        let Op::Conv { k, size, .. } = node.op else { return None };
        let input = node.inputs[0];
        let c = if input == 0 { IMAGE_CHANNELS } else { self.nodes[input].shape[2] };
        Some([k, c, size, size])
    }

    /// Height and width of the images.
    pub fn image(&self) -> [usize; 2] {
        [self.nodes[0].shape[0], self.nodes[0].shape[1]]
    }

    /// Outputs of the last layer.
    pub fn classes(&self) -> usize {
        self.nodes.last().map_or(0, |node| node.shape[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONV: Op = Op::Conv { k: 8, size: 3, stride: 1, family: false };

    /// Convolution, batch norm, pool, classifier.
    fn small() -> Graph {
        let mut graph = Graph::new(6, 10);
        let x = graph.then("conv1", CONV, 0);
        let x = graph.then("bn1", Op::BatchNorm, x);
        let x = graph.then("avgpool", Op::GlobalAvgPool, x);
        graph.then("fc", Op::Linear { k: 3 }, x);
        graph
    }

    #[test]
    fn what_kernels_cannot_compute_is_refused() {
        small().check().expect("it can be computed");
        let conv = |k, size, stride| Op::Conv { k, size, stride, family: false };
        // What stands behind the pictures in place of the convolution.
        for (op, problem) in [
            (conv(8, 3, 0), "conv1"),
            (conv(8, 0, 1), "conv1"),
            (conv(0, 3, 1), "k a multiple of 4"),
            (conv(6, 3, 1), "k a multiple of 4"),
            (Op::MaxPool, "only a convolution"),
        ] {
            let mut graph = Graph::new(6, 10);
            let x = graph.then("conv1", op, 0);
            let x = graph.then("avgpool", Op::GlobalAvgPool, x);
            graph.then("fc", Op::Linear { k: 3 }, x);
            let error = graph.check().expect_err(problem).to_string();
            assert!(error.contains("layer conv1") && error.contains(problem), "{error}");
        }
        // What stands between the batch norm and the pool.
        for (op, problem) in [
            (Op::ShortcutA { k: 4 }, "must have k 8"),
            (Op::ShortcutA { k: 12 }, "must have k 8"),
            (Op::Linear { k: 8 }, "reads 6x10 pixels"),
            (Op::Add, "reads layers [2]"),
            (Op::Input, "come first and once"),
        ] {
            let mut graph = small();
            graph.nodes.truncate(3);
            let x = graph.then("odd", op, 2);
            let x = graph.then("avgpool", Op::GlobalAvgPool, x);
            graph.then("fc", Op::Linear { k: 3 }, x);
            let error = graph.check().expect_err(problem).to_string();
            assert!(error.contains("layer odd") && error.contains(problem), "{error}");
        }
        let changed = |change: fn(&mut Graph)| {
            let mut graph = small();
            change(&mut graph);
            graph.check().expect_err("changed").to_string()
        };
        let with_fc = |k: usize, inputs: &[usize]| {
            let mut graph = small();
            graph.nodes[4] =
                Node { name: "fc".into(), op: Op::Linear { k }, inputs: inputs.into(), shape: [1, 1, k] };
            graph.check().expect_err("another classifier").to_string()
        };
        let with_sum = |a: usize, b: usize| {
            let mut graph = small();
            graph.add("sum", a, b);
            graph.check().expect_err("no sum").to_string()
        };
        let doubled = |graph: &mut Graph| {
            graph.nodes[4] =
                Node { op: Op::Add, inputs: vec![3, 3], shape: [1, 1, 8], ..graph.nodes[4].clone() }
        };
        for (error, problem) in [
            (
                changed(|graph| graph.nodes[2].name = "conv1".into()),
                "layer conv1 (BatchNorm) has the name of another",
            ),
            (changed(|graph| graph.nodes.truncate(3)), "last layer, bn1, is 6x10"),
            (changed(|graph| graph.nodes[1].shape = [6, 11, 8]), "layer conv1"),
            (changed(|graph| graph.nodes.clear()), "no layers"),
            (changed(doubled), "layer fc (Add) must read two"),
            (with_fc(0, &[3]), "one output"),
            (with_fc(3, &[9]), "layer fc (Linear { k: 3 }) reads layers [9]"),
            (
                changed(|graph| {
                    graph.then("spare", Op::GlobalAvgPool, 2);
                }),
                "layer fc (Linear { k: 3 }) is read by no layer",
            ),
            (with_sum(3, 4), "layer sum (Add) adds [1, 1, 3] to [1, 1, 8]"),
            (with_sum(4, 3), "layer sum (Add) reads 3 channels"),
            (Graph::new(0, 10).check().expect_err("no rows").to_string(), "0x10"),
        ] {
            assert!(error.contains(problem), "{error}");
        }
    }
}
