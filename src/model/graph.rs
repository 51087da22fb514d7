//! A network as data: layers, their inputs, and the shapes between them.

/// What a layer computes. Shapes are inferred from its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The images, 3 channels padded to 4.
    Input,
    /// `size` x `size`, padding size / 2, no bias. `family`: its weight belongs to the weight family of
    /// the method; else it stays full precision.
    Conv {
        k: usize,
        size: usize,
        stride: usize,
        family: bool,
    },
    BatchNorm,
    Relu,
    /// Sum of two inputs.
    Add,
    /// Stride-2 subsampling to `k` channels, the new ones zero.
    ShortcutA {
        k: usize,
    },
    /// 3x3, stride 2, padding 1.
    MaxPool,
    GlobalAvgPool,
    /// With bias, to `k` outputs.
    Linear {
        k: usize,
    },
}

/// A layer: its name as in the checkpoint, and the layers whose outputs it reads.
#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
    pub op: Op,
    pub inputs: Vec<usize>,
    /// Height, width and channels of its output.
    pub shape: [usize; 3],
}

/// Layers in the order in which they run.
#[derive(Clone, Debug)]
pub struct Graph {
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

    /// Adds a layer after `input` and returns its number.
    pub fn then(&mut self, name: impl Into<String>, op: Op, input: usize) -> usize {
        self.push(name.into(), op, vec![input])
    }

    /// Adds the sum of two layers.
    pub fn add(&mut self, name: impl Into<String>, a: usize, b: usize) -> usize {
        self.push(name.into(), Op::Add, vec![a, b])
    }

    fn push(&mut self, name: String, op: Op, inputs: Vec<usize>) -> usize {
        let [h, w, c] = self.nodes[inputs[0]].shape;
        let shape = match op {
            Op::Conv { k, size, stride, .. } => {
                let out = |x: usize| (x + 2 * (size / 2) - size) / stride + 1;
                [out(h), out(w), k]
            }
            Op::ShortcutA { k } => [h.div_ceil(2), w.div_ceil(2), k],
            Op::MaxPool => [h.div_ceil(2), w.div_ceil(2), c],
            Op::GlobalAvgPool => [1, 1, c],
            Op::Linear { k } => [1, 1, k],
            Op::Input | Op::BatchNorm | Op::Relu | Op::Add => [h, w, c],
        };
        self.nodes.push(Node { name, op, inputs, shape });
        self.nodes.len() - 1
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
