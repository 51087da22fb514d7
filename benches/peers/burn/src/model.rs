//! CIFAR ResNet-6n+2 with shortcut B (He et al. 2016), full-precision or S³ convolutions in its blocks.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::s3::S3Conv2d;

/// Side of an image and number of classes.
pub const SIDE: usize = 32;
pub const CLASSES: usize = 10;
const WIDTHS: [usize; 3] = [16, 32, 64];

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Conv {
    Full(Conv2d),
    S3(S3Conv2d),
}

impl Conv {
    /// S³ where `bits` is given.
    fn new(channels: [usize; 2], kernel: usize, stride: usize, bits: Option<u32>, device: &Device) -> Self {
        match bits {
            Some(bits) => Self::S3(S3Conv2d::new(channels, kernel, stride, bits, device)),
            None => Self::Full(full(channels, kernel, stride, device)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Full(conv) => conv.forward(x),
            Self::S3(conv) => conv.forward(x),
        }
    }

    fn density_penalty(&self) -> Option<Tensor<1>> {
        match self {
            Self::Full(_) => None,
            Self::S3(conv) => Some(conv.density_penalty()),
        }
    }

    fn deployed(self, device: &Device) -> Self {
        match self {
            Self::Full(conv) => Self::Full(conv),
            Self::S3(s3) => {
                let weight = s3.discrete();
                let [c_out, c_in, kernel, _] = weight.dims();
                let mut conv = full([c_in, c_out], kernel, s3.stride(), device);
                conv.weight = Param::from_tensor(weight);
                Self::Full(conv)
            }
        }
    }
}

/// A full-precision convolution without bias, He fan-out.
fn full(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Conv2d {
    let padding = kernel / 2;
    Conv2dConfig::new(channels, [kernel; 2])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .with_bias(false)
        .with_initializer(Initializer::KaimingNormal { gain: 2f64.sqrt(), fan_out_only: true })
        .init(device)
}

fn norm(channels: usize, device: &Device) -> BatchNorm {
    BatchNormConfig::new(channels).init(device)
}

#[derive(Module, Debug)]
struct Block {
    conv1: Conv,
    bn1: BatchNorm,
    conv2: Conv,
    bn2: BatchNorm,
    downsample: Option<Downsample>,
}

/// The shortcut where the shape changes.
#[derive(Module, Debug)]
struct Downsample {
    conv: Conv,
    bn: BatchNorm,
}

impl Block {
    fn new([c_in, c_out]: [usize; 2], stride: usize, bits: Option<u32>, device: &Device) -> Self {
        Self {
            conv1: Conv::new([c_in, c_out], 3, stride, bits, device),
            bn1: norm(c_out, device),
            conv2: Conv::new([c_out, c_out], 3, 1, bits, device),
            bn2: norm(c_out, device),
            downsample: (stride != 1 || c_in != c_out).then(|| Downsample {
                conv: Conv::new([c_in, c_out], 1, stride, bits, device),
                bn: norm(c_out, device),
            }),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = relu(self.bn1.forward(self.conv1.forward(x.clone())));
        let y = self.bn2.forward(self.conv2.forward(y));
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.bn.forward(downsample.conv.forward(x)),
            None => x,
        };
        relu(y + shortcut)
    }

    fn convs(&self) -> impl Iterator<Item = &Conv> {
        [&self.conv1, &self.conv2].into_iter().chain(self.downsample.as_ref().map(|d| &d.conv))
    }

    fn deployed(self, device: &Device) -> Self {
        Self {
            conv1: self.conv1.deployed(device),
            conv2: self.conv2.deployed(device),
            downsample: self.downsample.map(|d| Downsample { conv: d.conv.deployed(device), bn: d.bn }),
            ..self
        }
    }
}

#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    blocks: Vec<Block>,
    pool: AdaptiveAvgPool2d,
    fc: Linear,
}

impl ResNet {
    /// ResNet-6n+2; S³ convolutions in the blocks where `bits` is given.
    pub fn new(n: usize, bits: Option<u32>, device: &Device) -> Self {
        let shapes = shapes(n);
        Self {
            conv1: full([3, WIDTHS[0]], 3, 1, device),
            bn1: norm(WIDTHS[0], device),
            blocks: shapes.map(|(channels, stride)| Block::new(channels, stride, bits, device)).collect(),
            pool: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            fc: LinearConfig::new(WIDTHS[2], CLASSES).init(device),
        }
    }

    /// (N, 3, SIDE, SIDE) to (N, CLASSES).
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = relu(self.bn1.forward(self.conv1.forward(x)));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.fc.forward(self.pool.forward(x).flatten(1, 3))
    }

    /// The dense-weight regularizer of all S³ layers, without its factor; none without such layers.
    pub fn density_penalty(&self) -> Option<Tensor<1>> {
        self.blocks.iter().flat_map(Block::convs).filter_map(Conv::density_penalty).reduce(|a, b| a + b)
    }

    /// The same network holding the discrete weights themselves, without autodiff: what inference runs.
    pub fn deployed(&self, device: &Device) -> Self {
        let model = self.valid();
        Self { blocks: model.blocks.into_iter().map(|block| block.deployed(device)).collect(), ..model }
    }
}

/// Channels and stride of the first convolution of every block.
fn shapes(n: usize) -> impl Iterator<Item = ([usize; 2], usize)> {
    let widths = [[WIDTHS[0]; 2], [WIDTHS[0], WIDTHS[1]], [WIDTHS[1], WIDTHS[2]]];
    widths.into_iter().enumerate().flat_map(move |(stage, [c_in, c_out])| {
        (0..n).map(move |b| match b {
            0 => ([c_in, c_out], if stage == 0 { 1 } else { 2 }),
            _ => ([c_out; 2], 1),
        })
    })
}

/// GFLOP an image, forward and training (forward and both gradients; none for the images), 1 MAC = 2 FLOP.
pub fn gflop(n: usize) -> (f64, f64) {
    let stem = SIDE * SIDE * 9 * 3 * WIDTHS[0];
    let (mut side, mut macs) = (SIDE, stem + WIDTHS[2] * CLASSES);
    for ([c_in, c_out], stride) in shapes(n) {
        side /= stride;
        let shortcut = if c_in == c_out { 0 } else { c_in * c_out };
        macs += side * side * (9 * c_in * c_out + 9 * c_out * c_out + shortcut);
    }
    (2e-9 * macs as f64, 2e-9 * (3 * macs - stem) as f64)
}
